package wire

import (
	"net"
	"net/netip"
)

// Plaintext says which remote addresses may be spoken with outside TLS. The
// zero value is PlaintextOff.
type Plaintext string

// The policies, written as in the configuration files.
const (
	PlaintextOff      Plaintext = "off"
	PlaintextLoopback Plaintext = "loopback"
	PlaintextAny      Plaintext = "any"
)

// Allows reports whether a connection with this remote end may be plaintext.
// An address that is not an IP address is never loopback.
func (p Plaintext) Allows(remote net.Addr) bool {
	switch p {
	case PlaintextAny:
		return true
	case PlaintextLoopback:
		if remote == nil {
			return false
		}
		ap, err := netip.ParseAddrPort(remote.String())
		return err == nil && ap.Addr().Unmap().IsLoopback()
	default:
		return false
	}
}
