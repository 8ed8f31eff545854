package address

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestOneRuleForAllAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"10.97.0.10":                 "https://10.97.0.10:9000",
		"10.97.0.10:9001":            "https://10.97.0.10:9001",
		"controller.local":           "https://controller.local:9000",
		"Controller.Local.":          "https://controller.local:9000",
		" pi \n":                     "https://pi:9000",
		"https://controller.local":   "https://controller.local:9000",
		"https://files.example:443/": "https://files.example:443",
		"HTTPS://x.example/a/b//":    "https://x.example:9000/a/b",
		"x/a%20b":                    "https://x:9000/a%20b",
		"http://10.0.0.1":            "http://10.0.0.1:9000",
		"localhost":                  "http://localhost:9000",
		"LOCALHOST:1":                "http://localhost:1",
		"127.0.0.1":                  "http://127.0.0.1:9000",
		"127.1.2.3:80":               "http://127.1.2.3:80",
		"::1":                        "http://[::1]:9000",
		"[::1]:9001":                 "http://[::1]:9001",
		"https://127.0.0.1:9000":     "https://127.0.0.1:9000",
		"fd00::1":                    "https://[fd00::1]:9000",
		"FD00:0::1":                  "https://[fd00::1]:9000",
		"[fd00::1]":                  "https://[fd00::1]:9000",
		"https://[fd00::1]":          "https://[fd00::1]:9000",
		"fe80::5%lo":                 "https://[fe80::5%25lo]:9000",
		"fe80::5%Eth0":               "https://[fe80::5%25Eth0]:9000",
		"fe80::5%25eth0":             "https://[fe80::5%25eth0]:9000",
		"[fe80::5%eth0]:1":           "https://[fe80::5%25eth0]:1",
		"[fe80::5%25eth0]:1":         "https://[fe80::5%25eth0]:1",
		"https://[fe80::5%25eth0]":   "https://[fe80::5%25eth0]:9000",
		"https://[fe80::5%eth0]:1":   "https://[fe80::5%25eth0]:1",
		"https://[fe80::5%251]":      "https://[fe80::5%251]:9000",
		"fe80::5%251":                "https://[fe80::5%25251]:9000",
		"fe80::5%25":                 "https://[fe80::5%2525]:9000",
		"küche.local":                "https://küche.local:9000",
		"my_pi":                      "https://my_pi:9000",
	} {
		a, err := Parse(text)
		if err != nil || a.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, a, err, want)
			continue
		}
		if again, err := Parse(a.String()); err != nil || again.String() != want {
			t.Errorf("%q written again: %q, %v", text, again, err)
		}
	}
}

func TestOtherTextsAreNoAddresses(t *testing.T) {
	for _, text := range []string{
		"", " ", ":9000", "http://", "https://:9000", "ftp://x", "a b", "a\nb", "x:", "x:0", "x:65536", "x:port", "x:-1", "https:/x", "//x", "1234",
		"10.0.0", "10.0.0.256", "[::1", "[::1]x", "[10.0.0.1]", "[pi]:1", "::1::", "fe80::1%", "x?y", "x#y", "-x", "a..b", "x\x1b", "x\u202e", "\xff",
		"x:1:2", "fe80::1%a%b", `x\y`, strings.Repeat("a.", 200), "$(id)", "x;y", "x'", "x%20y",
	} {
		if a, err := Parse(text); !errors.Is(err, ErrNone) || len(err.Error()) > 500 {
			t.Errorf("%q is read as %q, %v", text, a, err)
		}
	}
	for _, text := range []string{"RAID1-SECRET-X", "raidpi_secret_x", " raidpi_secret"} {
		if _, err := Parse(text); !errors.Is(err, ErrToken) || strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"me:secret@x", "https://me:secret@x:9000/", "secret@"} {
		if _, err := Parse(text); !errors.Is(err, ErrPassword) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"fe80::5%25eth0", "https://[fd00::1]:9000/x", "a.b:1", "::1%25"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(a.String()); err != nil || again.String() != a.String() {
			t.Fatalf("%q becomes %q, and that %q, %v", text, a, again, err)
		}
		if a.Host == "" || a.Port < 1 || a.Port > 65535 {
			t.Fatalf("%q: %+v", text, a)
		}
		u, err := url.Parse(a.String())
		if err != nil || u.Hostname() != a.Host {
			t.Fatalf("%q becomes %q: %v", text, a, err)
		}
	})
}
