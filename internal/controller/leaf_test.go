package controller

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
)

func newLeaf(t *testing.T, built time.Time) *httpsCertificate {
	t.Helper()
	dir := t.TempDir()
	ca, err := identity.OpenCA(dir, "0123456789abcdefghijkl", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &httpsCertificate{
		ca: ca, dir: dir, built: built, random: rand.Reader, log: slog.New(slog.DiscardHandler),
		machine: func() (string, []netip.Addr) { return "controller", []netip.Addr{netip.MustParseAddr("192.168.1.10")} },
	}
}

func TestBrowsersCertificateFollowsTheClockAndTheMachine(t *testing.T) {
	built := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	l := newLeaf(t, built)
	try := func(what string, now time.Time, anew bool) {
		t.Helper()
		before := l.current.Load()
		if err := l.renew(now); err != nil {
			t.Fatal(err)
		}
		if got := l.current.Load() != before; got != anew {
			t.Errorf("%s: made anew is %v", what, got)
		}
		if c := l.current.Load().Leaf; now.Before(c.NotBefore) || now.After(c.NotAfter) {
			t.Errorf("%s: valid from %v to %v", what, c.NotBefore, c.NotAfter)
		}
	}
	try("first start, clock in 1970", time.Unix(100, 0), true)
	if end := l.current.Load().Leaf.NotAfter; end.Year() != 9999 {
		t.Errorf("who has a clock finds that it ended on %v", end)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "https.pem")); err == nil {
		t.Error("the key of a certificate without an end is on the card")
	}
	try("a minute later", time.Unix(160, 0), false)
	noon := built.AddDate(0, 1, 0)
	try("the clock is set", noon, true)
	try("an hour later", noon.Add(time.Hour), false)
	l.machine = func() (string, []netip.Addr) { return "controller", []netip.Addr{netip.MustParseAddr("192.168.1.11")} }
	try("another address", noon.Add(2*time.Hour), true)
	l.machine = func() (string, []netip.Addr) { return "controller", nil }
	try("no cable", noon.Add(3*time.Hour), false)
	try("a year later", noon.AddDate(1, 0, 0), true)
	try("the clock jumps back", built.AddDate(0, 0, 1), true)
	if c := l.current.Load().Leaf; c.NotAfter.Sub(c.NotBefore) > 398*24*time.Hour {
		t.Errorf("with a clock it is valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	try("the battery is empty", time.Unix(100, 0), true)
	try("the clock is set again", built.AddDate(0, 0, 1), true)
	if got := l.names(); !slices.Equal(got, []string{"controller.local", "controller", "192.168.1.10", "192.168.1.11"}) {
		t.Errorf("%q", got)
	}
}

func TestNameThatAvahiGaveIsInTheCertificateAndKept(t *testing.T) {
	l := newLeaf(t, time.Unix(0, 0))
	name := ""
	l.announced = func(string, []netip.Addr) string { return name }
	try := func(what string, now string, want bool) {
		t.Helper()
		name = now
		if err := l.renew(time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := l.current.Load().Leaf.VerifyHostname("controller-2.local") == nil; got != want {
			t.Errorf("%s: in the certificate is %v", what, got)
		}
		if got := l.names()[0] == "controller-2.local"; got != want {
			t.Errorf("%s: told to people are %q", what, l.names())
		}
	}
	try("at first", "", false)
	try("another machine has the name", "controller-2.local", true)
	try("avahi-daemon starts anew", "", true)
	l.machine = func() (string, []netip.Addr) { return "files", nil }
	try("the machine has another name", "", false)
}

func TestIdleControllerMakesNoCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaf(t, time.Unix(0, 0))
		if err := l.renew(time.Now()); err != nil {
			t.Fatal(err)
		}
		first := l.current.Load()
		ctx, cancel := context.WithTimeout(t.Context(), 30*24*time.Hour)
		defer cancel()
		if err := l.run(ctx); err != nil || l.current.Load() != first {
			t.Errorf("made anew: %v, %v", l.current.Load() != first, err)
		}
	})
}
