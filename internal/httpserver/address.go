package httpserver

import (
	"net"
	"net/http"
	"net/netip"
)

// RemoteAddr is the address that a request comes from, the zero one if unknown.
func RemoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// addressOf returns what counts as one address; the zero one is not counted. Whoever
// has an IPv6 address has 64 bits of them.
func addressOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return network(ap.Addr())
}

// isHere tells the address that this machine's own programs come from.
func isHere(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == network(netip.IPv6Loopback())
}

// network is the address itself, or the network of 64 bits that an IPv6 address is in.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil { // no IPv6 address has fewer bits
		return a
	}
	return p.Addr()
}
