package controller

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/identity"
)

func TestNamesOfTheController(t *testing.T) {
	for _, c := range []struct {
		configured []string
		hostname   string
		want       []string
	}{
		{nil, "controller", []string{"controller.local", "controller", "localhost"}},
		{nil, "Pi4", []string{"pi4.local", "pi4", "controller.local", "localhost"}},
		{nil, "pi.home.lan", []string{"pi.local", "pi.home.lan", "pi", "controller.local", "localhost"}},
		{nil, "PI.Home.Lan.", []string{"pi.local", "pi.home.lan", "pi", "controller.local", "localhost"}},
		{nil, "pi.", []string{"pi.local", "pi", "controller.local", "localhost"}},
		{nil, "pi.local", []string{"pi.local", "pi", "controller.local", "localhost"}},
		{nil, "localhost.localdomain", []string{"controller.local", "localhost"}},
		{nil, "localhost", []string{"controller.local", "localhost"}},
		{nil, "(none)", []string{"controller.local", "localhost"}},
		{nil, "küche", []string{"controller.local", "localhost"}},
		{nil, "my pi", []string{"controller.local", "localhost"}},
		{nil, "", []string{"controller.local", "localhost"}},
		{[]string{"Files.Example.", "192.0.2.1", "pi4"}, "pi4", []string{"files.example", "pi4", "pi4.local", "controller.local", "localhost"}},
	} {
		if got := hostNames(c.configured, c.hostname, ""); !slices.Equal(got, c.want) {
			t.Errorf("%q, %q: %q", c.configured, c.hostname, got)
		}
	}
	want := []string{"pi-2.local", "pi.local", "pi.home.lan", "pi", "controller.local", "localhost"}
	if got := hostNames(nil, "pi.home.lan", "pi-2.local"); !slices.Equal(got, want) {
		t.Errorf("renamed by avahi-daemon: %q", got)
	}
}

func TestMachineWithLinkLocalAddressesAloneIsReachedByThem(t *testing.T) {
	a := netip.MustParseAddr
	h := hosts(nil, machine{hostname: "x", addresses: []netip.Addr{a("127.0.0.1"), a("fe80::5%eth0")}}, identity.Hosts{})
	if want := []netip.Addr{a("127.0.0.1"), a("::1"), a("fe80::5")}; !slices.Equal(h.IPs, want) {
		t.Errorf("%v", h.IPs)
	}
}

func TestAddressesOfTheController(t *testing.T) {
	a := netip.MustParseAddr
	now := []netip.Addr{a("192.168.1.10"), a("127.0.0.1"), a("169.254.3.4"), a("fe80::1%eth0"), a("2001:db8::5")}
	h := hosts([]string{"pi", "192.0.2.9"}, machine{hostname: "x", addresses: now}, identity.Hosts{})
	want := []netip.Addr{a("192.0.2.9"), a("127.0.0.1"), a("::1"), a("192.168.1.10"), a("2001:db8::5")}
	if !slices.Equal(h.IPs, want) {
		t.Errorf("%v", h.IPs)
	}
	// The cable was pulled; the certificate stays as it is.
	again := hosts([]string{"pi", "192.0.2.9"}, machine{hostname: "x"}, h)
	if !slices.Equal(again.IPs, want) {
		t.Errorf("%v", again.IPs)
	}
	var many []netip.Addr
	for i := range 200 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	if h = hosts(nil, machine{hostname: "x", addresses: many}, h); len(h.IPs) != maxAddresses {
		t.Errorf("%d addresses", len(h.IPs))
	}
}

func TestPassingIPv6AddressesAreLeftOut(t *testing.T) {
	text := `00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000010 02 40 00 80     eth0
fd00000000000000abcdef0123456789 02 40 00 01     eth0
20010db8000000000000000000000099 02 40 00 40     eth0
nonsense 02 40 00 80 eth0
fd0000000000 02 40 00 80 eth0

fd000000000000000000000000000011 02 40 00 zz     eth0
`
	want := []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("fd00::10")}
	if got := lastingIPv6([]byte(text)); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if _, addresses := MachineHosts(); !slices.Contains(addresses, netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		t.Errorf("this machine: %v", addresses)
	}
}
