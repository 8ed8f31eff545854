package mdns

import (
	"net/netip"
	"strings"
	"testing"
)

func TestOwnNameIsWhatAvahiMakesOfTheHostName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 63)
	for _, c := range []struct{ hostname, answer, want string }{
		{"pi", "+ 3 0 pi.local\n", "pi.local"},
		{"Pi.home.lan", "+ 3 0 Pi.local\n", "pi.local"},
		{"pi.home.lan", "+ 3 0 pi-2.local\n", "pi-2.local"},
		{"pi-2", "+ 3 1 pi-3.local.\n", "pi-3.local"},
		{long, "+ 3 0 " + long[:61] + "-2.local\n", long[:61] + "-2.local"},
		{"pi", "+ 3 0 evil.local\n", ""},
		{"pi", "+ 3 0 pi-evil.local\n", ""},
		{"pi", "+ 3 0 pi.example.org\n", ""},
		{"pi", "+ 3 0 pi-2.local x\n", ""},
		{"", "+ 3 0 -2.local\n", ""},
		{"pi", "-15 Timeout reached\n", ""},
		{"pi", "+ 3 0 " + strings.Repeat("x", 1<<16) + "\n", ""},
		{"pi", silent, ""},
	} {
		a := startAvahi(t, func(q string) string {
			if !strings.HasPrefix(q, "RESOLVE-ADDRESS ") {
				t.Errorf("asked was %q", q)
			}
			return c.answer
		})
		got := OwnName(t.Context(), a.path, c.hostname, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1%eth0")})
		if got != c.want {
			t.Errorf("%q, %.60q: %q, want %q", c.hostname, c.answer, got, c.want)
		}
		if q := a.questions(); len(q) != 1 || q[0] != "RESOLVE-ADDRESS fe80::1" {
			t.Errorf("asked was %q", q)
		}
	}
	if got := OwnName(t.Context(), t.TempDir()+"/none", "pi", []netip.Addr{netip.MustParseAddr("10.0.0.1")}); got != "" {
		t.Errorf("without avahi-daemon: %q", got)
	}
}
