package raidctl

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/mdns"
)

func TestAdviceFitsWhyThereIsNoConnection(t *testing.T) {
	name := func(host string, why error) error {
		return &net.DNSError{Err: "no such host", Name: host, UnwrapErr: why}
	}
	for want, err := range map[string]error{
		"sudo apt install avahi-daemon":              name("controller.local", mdns.ErrNotRunning),
		"does avahi-daemon run on it?":               name("Controller.Local.", mdns.ErrNoAnswer),
		"is the controller on and in the same netwo": name("controller.local", nil),
		"Is the name right?":                         name("controller.example", nil),
		"Is raid-controller running there?":          syscall.ECONNREFUSED,
		"Is the machine on, and in the same network": errors.New("timeout"),
	} {
		got := unreachableAdvice(&client.UnreachableError{URL: "https://x", Err: err})
		if !strings.Contains(strings.ToLower(got), strings.ToLower(want)) || !strings.Contains(got, "--controller") {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
