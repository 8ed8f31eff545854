//go:build nspawn

package pis

import (
	"strings"
	"testing"
)

// In its sandbox the controller still sees which user's program asks. People and root need no token
// on its own machine. A web server does, and so does a program that systemd runs under a user that
// it makes up.
func TestSandboxedControllerKnowsWhoAsks(t *testing.T) {
	t.Parallel()
	s := newLab(t)
	h := s.add("controller", controllerAddr, nil)
	boot(t, h)
	h.paste("apt")
	h.must("sudo apt install raid-controller")
	h.becomesActive("raid-controller")
	const ask = `curl -s -o /dev/null -w '%{http_code}' `
	const status = "http://127.0.0.1:9000/status"
	as := func(uid string) string { return "setpriv --reuid " + uid + " --regid " + uid + " --clear-groups " }
	for lines, want := range map[string]string{
		ask + status:              "200", // root
		as("1000") + ask + status: "200",
		as("33") + ask + status:   "401",
		as("33") + ask + "-X DELETE http://127.0.0.1:9000/files/1":                             "401",
		as("65534") + ask + status:                                                             "401",
		as("33") + ask + "http://[::1]:9000/status":                                            "401",
		as("1000") + ask + "http://[::1]:9000/status":                                          "200",
		as("33") + ask + "-k https://127.0.0.1:9000/status":                                    "401",
		ask + "-H 'X-Forwarded-Proto: https' " + status:                                        "401",
		"systemd-run -q --wait --pipe -p DynamicUser=yes " + ask + status:                      "401",
		ask + "--unix-socket /run/raid-controller/control.sock http://localhost/access-tokens": "200",
	} {
		if got := strings.TrimSpace(h.must(lines)); got != want {
			t.Errorf("%s: %s, want %s", lines, got, want)
		}
	}
	said, _ := h.all(as("33") + "curl -s " + status)
	if !strings.Contains(said, "system user (uid 33)") {
		t.Errorf("www-data is told: %s", said)
	}
}
