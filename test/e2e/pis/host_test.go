//go:build nspawn

package pis

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/nspawn"
)

// host is a host in the hands of a test, which fails with what goes wrong on it.
type host struct {
	*nspawn.Host
	t *testing.T
}

// patience bounds what should take seconds, on a machine that others use too.
const patience = time.Minute

// add makes a host that is off. change may be nil.
func (s *setUp) add(name, addr string, change func(*nspawn.HostConfig)) *host {
	s.t.Helper()
	cfg := nspawn.HostConfig{
		Name: name, Addr: addr,
		Append: map[string]string{
			"/etc/hosts":                         nspawn.Gateway + " " + sourceName + "\n",
			"/etc/ssl/certs/ca-certificates.crt": setting.source.ca,
		},
		Files: map[string]string{},
	}
	if change != nil {
		change(&cfg)
	}
	h, err := s.lab.Add(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the journal of %s:\n%s", name, h.Journal(context.Background(), 150))
		}
	})
	return &host{h, s.t}
}

// must runs lines and returns what they print to standard output.
func (h *host) must(lines string) string {
	h.t.Helper()
	out, err := h.try(lines)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// try runs lines that may fail; the error has all that they print.
func (h *host) try(lines string) (string, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*patience)
	defer cancel()
	r, err := h.Run(ctx, nspawn.Command{Lines: lines})
	return r.Out, err
}

// oneIsUp reports whether the array of this host's controller has a node. Before that
// raidctl's exit status says that nothing can be stored.
func (h *host) oneIsUp() bool {
	out, _ := h.all("raidctl status")
	return strings.Contains(out, "1 up")
}

// all is everything that lines print, and their exit status.
func (h *host) all(lines string) (string, int) {
	h.t.Helper()
	out, err := h.try("{ " + lines + "\n} 2>&1")
	var ended *exec.ExitError
	switch {
	case err == nil:
		return out, 0
	case errors.As(err, &ended):
		return out, ended.ExitCode()
	}
	h.t.Fatal(err)
	return "", 0
}

// paste runs a block of the README.
func (h *host) paste(scene string) string {
	h.t.Helper()
	lines := setting.readme[scene]
	if lines == "" {
		h.t.Fatalf("the README has no scene %q", scene)
	}
	return h.must(lines)
}

// check fails the test on an error of the lab.
func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// property is one of systemd's of a unit.
func (h *host) property(unit, name string) string {
	h.t.Helper()
	return strings.TrimSpace(h.must("systemctl show --timestamp=unix --value --property=" + name + " " + unit))
}

// until waits for something to happen on the host.
func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	until(h.t, h.Name+": "+what, patience, ok)
}

// more are asked for details when it does not.
func until(t *testing.T, what string, limit time.Duration, ok func() bool, more ...func() string) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) || t.Context().Err() != nil {
			for _, say := range more {
				what += "; " + say()
			}
			t.Fatalf("this has not happened within %v: %s", limit, what)
		}
	}
}

// says waits until `systemctl status` shows texts: in the status line, or the end of
// the log.
func (h *host) says(unit string, texts ...string) {
	h.t.Helper()
	var status string
	missing := func() string {
		status, _ = h.all("systemctl status --no-pager --full " + unit)
		for _, text := range texts {
			if !strings.Contains(status, text) {
				return text
			}
		}
		return ""
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text := missing()
		if text == "" {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%s: systemctl status %s does not say %q:\n%s", h.Name, unit, text, status)
		}
	}
}

// logs waits until the journal has texts of a unit since the second in which it was
// started last. Events of that start alone could be asked for by _SYSTEMD_INVOCATION_ID,
// but one that journald reads when the process has ended has none.
func (h *host) logs(unit string, texts ...string) {
	h.t.Helper()
	since := func() string { return "--since=" + h.property(unit, "ExecMainStartTimestamp") }
	h.logged(unit, since, texts...)
}

// logged waits until the journal of a unit, as far as it matches, has texts.
func (h *host) logged(unit string, match func() string, texts ...string) {
	h.t.Helper()
	for _, text := range texts {
		log := ""
		until(h.t, h.Name+": the journal of "+unit+" says "+text, patience, func() bool {
			log = h.Journal(h.t.Context(), 1000, "_SYSTEMD_UNIT="+unit+".service", match())
			return strings.Contains(log, text)
		}, func() string { return log })
	}
}

// refuses waits until a unit does not run, and says why in `systemctl status` and in
// the journal.
func (h *host) refuses(unit string, texts ...string) {
	h.t.Helper()
	h.says(unit, texts...)
	h.logs(unit, texts...)
	if state := h.property(unit, "ActiveState"); state == "active" {
		h.t.Errorf("%s: %s runs although it says %q", h.Name, unit, texts)
	}
}

// together does something on several hosts at once. The test ends when it ended on one
// of them.
func together(hosts []*host, do func(*host)) {
	var wg sync.WaitGroup
	var done atomic.Int32
	for _, h := range hosts {
		wg.Go(func() {
			do(h) // ends this goroutine alone by t.Fatal
			done.Add(1)
		})
	}
	wg.Wait()
	if int(done.Load()) < len(hosts) {
		hosts[0].t.FailNow()
	}
}

// boot boots hosts at once, and says how long it took.
func boot(t *testing.T, hosts ...*host) {
	t.Helper()
	start := time.Now()
	together(hosts, func(h *host) { h.check(h.Boot(t.Context())) })
	t.Logf("%d hosts booted in %.1f s", len(hosts), time.Since(start).Seconds())
}
