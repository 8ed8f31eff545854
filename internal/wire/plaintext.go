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
		addr, ok := addressOf(remote)
		return ok && addr.IsLoopback()
	default:
		return false
	}
}

func addressOf(remote net.Addr) (netip.Addr, bool) {
	if remote == nil {
		return netip.Addr{}, false
	}
	ap, err := netip.ParseAddrPort(remote.String())
	return ap.Addr().Unmap(), err == nil
}

// elsewhere reports whether a peer is on another machine. What has no IP address
// is a network in the process's own memory.
func elsewhere(remote net.Addr) bool {
	addr, ok := addressOf(remote)
	return ok && !addr.IsLoopback()
}
