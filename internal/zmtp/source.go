package zmtp

import (
	"net"
	"net/netip"
)

// sourceBits is the part of an IPv6 address that tells its owner, in bits. Whoever has one address
// usually has the other 2^64 too (RFC 6177).
const sourceBits = 64

// sourceOf returns the source that a connection counts for: its address without the port. This
// machine, and networks that have no IP addresses, are the empty source.
func sourceOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || addr == netip.IPv6Loopback() {
		return ""
	}
	if addr.Is6() {
		if p, err := addr.Prefix(sourceBits); err == nil {
			addr = p.Addr()
		}
	}
	return addr.String()
}

// perSource counts by source.
type perSource map[string]int

func (p perSource) add(from string, n int) {
	if p[from] += n; p[from] <= 0 {
		delete(p, from)
	}
}

// most is the source that has most.
func (p perSource) most() (from string) {
	best := -1
	for s, n := range p {
		if n > best {
			from, best = s, n
		}
	}
	return from
}
