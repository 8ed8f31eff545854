package controller

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/identity"
)

// usualName is the host name under which nodes look for the controller unless
// they are told another one. Its certificate is good for it whether or not this
// machine is called so: the CA is this array's alone.
const usualName = "controller.local"

// hostNames are the names by which this machine may be reached: those that the
// configuration gives, then its own. The first is what people are told to use.
// announced is the name that avahi-daemon gives it; "": not known. avahi-daemon
// leaves the domain of a host name away: pi.home.lan is pi.local.
func hostNames(configured []string, hostname, announced string) (names []string) {
	add := func(n string) {
		if identity.ValidDNS(n) && !slices.Contains(names, n) { // a machine may be called anything
			names = append(names, n)
		}
	}
	for _, n := range configured {
		if _, err := netip.ParseAddr(n); err != nil {
			add(strings.ToLower(strings.TrimSuffix(n, ".")))
		}
	}
	hostname = strings.TrimSuffix(strings.ToLower(hostname), ".")
	if short, _, _ := strings.Cut(hostname, "."); hostname != "" && short != "localhost" {
		add(announced)
		add(short + ".local") // as multicast DNS has it: RFC 6762
		add(hostname)
		add(short)
	}
	add(usualName)
	add("localhost")
	return names
}

// machine is the result of a look at this machine.
type machine struct {
	hostname  string
	announced string // by avahi-daemon
	addresses []netip.Addr
}

// hosts are the names and addresses of the controller's certificate. seen are those of earlier
// looks. They are kept, so that an interface that comes and goes does not have it made anew each
// time. Addresses that hold on one link alone count where there are no others.
func hosts(configured []string, m machine, seen identity.Hosts) identity.Hosts {
	h := identity.Hosts{DNS: hostNames(configured, m.hostname, m.announced), IPs: slices.Clone(seen.IPs)}
	add := func(a netip.Addr) {
		if a = a.Unmap().WithZone(""); !slices.Contains(h.IPs, a) && len(h.IPs) < maxAddresses {
			h.IPs = append(h.IPs, a)
		}
	}
	for _, n := range configured {
		if a, err := netip.ParseAddr(n); err == nil {
			add(a)
		}
	}
	add(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	add(netip.IPv6Loopback())
	wide := slices.ContainsFunc(m.addresses, netip.Addr.IsGlobalUnicast)
	for _, a := range m.addresses {
		if a.IsGlobalUnicast() || a.IsLinkLocalUnicast() && !wide {
			add(a)
		}
	}
	return h
}

// maxAddresses bounds them; an identity.Hosts has room for 100 with its names.
const maxAddresses = 45

// Flags of an IPv6 address (linux/if_addr.h) that will not last, or is not one yet.
const passing = 0x01 | 0x08 | 0x20 | 0x40 // temporary, duplicate, deprecated, tentative

// lastingIPv6 reads /proc/net/if_inet6: address, interface, length of the prefix,
// scope and flags in hexadecimal, and a name. Addresses that privacy extensions
// (RFC 8981) change every day are left out.
func lastingIPv6(text []byte) (all []netip.Addr) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 5 {
			continue
		}
		raw, err := hex.DecodeString(f[0])
		flags, errFlags := strconv.ParseUint(f[4], 16, 32)
		if a, ok := netip.AddrFromSlice(raw); ok && err == nil && errFlags == nil && flags&passing == 0 {
			all = append(all, a)
		}
	}
	return all
}

// MachineHosts looks at this machine's name and addresses. What can't be read is
// left out: it costs a browser's warning.
func MachineHosts() (hostname string, addresses []netip.Addr) {
	hostname, _ = os.Hostname()
	addresses = interfaceIPv4()
	if text, err := os.ReadFile("/proc/net/if_inet6"); err == nil {
		addresses = append(addresses, lastingIPv6(text)...)
	}
	return hostname, addresses
}

func interfaceIPv4() (all []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			all = append(all, p.Addr())
		}
	}
	return all
}
