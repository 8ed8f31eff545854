package mdns

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAnswersOfAvahi(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"+ 2 0 controller.local 10.77.0.2\n":  "10.77.0.2",
		"+ -1 -1 pi.local 169.254.3.4\n":      "169.254.3.4",
		"+ 2 0 pi.local 2001:db8::1\n":        "2001:db8::1",
		"+ 1 0 pi.local fe80::1\n":            "fe80::1%" + lo.Name,
		"+ 987654 0 pi.local fe80::1\n":       "fe80::1%987654",
		"+ 0 0 pi.local fe80::1\n":            "",
		"+ -1 0 pi.local fe80::1\n":           "",
		"+ 2 0 pi.local fe80::1%eth9\n":       "",
		"+ 2 0 pi.local ::ffff:10.0.0.1\n":    "",
		"+ 2 0 pi.local 0.0.0.0\n":            "",
		"+ 2 0 pi.local ::\n":                 "",
		"+ 2 0 pi.local 224.0.0.251\n":        "",
		"+ 2 0 pi.local 255.255.255.255\n":    "",
		"+ 2 0 pi.local ff02::fb\n":           "",
		"+ x 0 pi.local 10.0.0.1\n":           "",
		"+ 99999999999 0 pi.local 10.0.0.1\n": "",
		"+ 2 0 pi.local 10.0.0.1 x\n":         "",
		"+ 2 0 10.0.0.1\n":                    "",
		"+2 0 pi.local 10.0.0.1\n":            "",
		"+ 2 0 pi.local 10.0.0\n":             "",
		"\n":                                  "",
		"-15 Timeout reached\n":               "",
	} {
		addr, err := parse(line, strings.Contains(line, ":"))
		if got := addr.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %v, %v", line, addr, err)
		}
		if _, err := parse(line, !strings.Contains(line, ":")); err == nil {
			t.Errorf("%q is taken for the other kind of address", line)
		}
	}
}

func TestNonsenseOnTheSocketIsBounded(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{strings.Repeat("+", 1<<20), "+ 2 0 pi.local 127.0.0.1", "hello\n", "+ 1 0 x \x1b[2J\n"} {
		a := startAvahi(t, func(string) string { return answer })
		d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false), Timeout: 5 * time.Second}}
		_, err := dial(t, d, "tcp", "pi.local:1")
		var dns *net.DNSError
		if !errors.As(err, &dns) || errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrNotRunning) || len(err.Error()) > 300 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%.20q: %v", answer, err)
		}
	}
}

func FuzzAnswerOfAvahi(f *testing.F) {
	for _, line := range []string{
		"+ 2 0 controller.local 10.77.0.2\n", "+ 2 0 h2.local fe80::e84a:edff:feb6:2334\n", "-15 Timeout reached\n", "-3 Invalid host name\n",
	} {
		f.Add(line, strings.Contains(line, "::"))
	}
	f.Fuzz(func(t *testing.T, line string, v6 bool) {
		addr, err := parse(line, v6)
		if err != nil {
			if addr.IsValid() || len(err.Error()) > 500 {
				t.Fatalf("%v %v", addr, err)
			}
			return
		}
		if addr.Is4() == v6 || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() && v6 != (addr.Zone() != "") {
			t.Fatalf("%q is %v", line, addr)
		}
		if back, err := netip.ParseAddr(addr.String()); err != nil || back != addr {
			t.Fatalf("%v: %v", addr, err)
		}
	})
}
