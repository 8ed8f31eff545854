package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/wire"
)

func TestAControllerIsFoundByTheNameThatItHasGot(t *testing.T) {
	dir := t.TempDir()
	var asked []string
	cfg := &Config{StateDir: dir, Log: slog.New(slog.DiscardHandler), Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		asked = append(asked, address)
		if address != "nas.local:5557" {
			return nil, errors.New("no such host")
		}
		a, b := net.Pipe()
		b.Close()
		return a, nil
	}}
	if err := writeAddress(dir, ControllerAddress{Host: "raspberrypi.local", HTTPPort: 9000}); err != nil {
		t.Fatal(err)
	}
	d := &daemon{cfg: cfg}
	dial := func(address string) error {
		asked = nil
		c, err := d.dial(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial("raspberrypi.local:5557"); err == nil || len(asked) != 1 {
		t.Errorf("before anything was told: %v, asked %q", err, asked)
	}
	l := &session{log: cfg.Log}
	d.told(l, wire.Told{Hosts: []string{"$(id)", "nas.local", "192.168.1.7", "fd00::7", "x y", "a.b", "c.d"}, Name: "up\x1bstairs"})
	for range 2 { // the second one is another process
		if err := dial("raspberrypi.local:5557"); err != nil || !slices.Equal(asked, []string{"raspberrypi.local:5557", "nas.local:5557"}) {
			t.Errorf("%v, asked %q", err, asked)
		}
		if err := dial("elsewhere:5557"); err == nil || len(asked) != 1 {
			t.Errorf("another host: %v, asked %q", err, asked)
		}
		d = &daemon{cfg: cfg}
	}
	p, err := readAddress(dir)
	if err != nil || p != (ControllerAddress{Host: "raspberrypi.local", HTTPPort: 9000, Others: "nas.local 192.168.1.7 fd00::7 a.b"}) {
		t.Errorf("remembered: %+v, %v", p, err)
	}
	if name := *l.name.Load(); name != "up?stairs" {
		t.Errorf("called %q", name)
	}
}

func TestNamesThatDoNotChangeAreNotWritten(t *testing.T) {
	dir := t.TempDir()
	d, l := &daemon{cfg: &Config{StateDir: dir}}, &session{log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	d.told(l, wire.Told{Hosts: []string{"nas.local"}})
	if err := forgetAddress(dir); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		d.told(l, wire.Told{Hosts: []string{"nas.local"}, Name: "x"})
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*")); len(found) > 0 {
		t.Errorf("written: %q", found)
	}
}

func TestTheLineThatJoinsNamesAPortThatIsNotTheUsualOne(t *testing.T) {
	for want, p := range map[string]ControllerAddress{
		"pi.local":      {Host: "pi.local", HTTPPort: 9000},
		"fd00::7":       {Host: "fd00::7"},
		"pi.local:9001": {Host: "pi.local", HTTPPort: 9001},
		"[fd00::7]:80":  {Host: "fd00::7", HTTPPort: 80},
	} {
		if got := joinedBy(p); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}
