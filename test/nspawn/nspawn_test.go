//go:build nspawn

package nspawn

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair boots two hosts.
func pair(t *testing.T) (*Lab, *Host, *Host) {
	t.Helper()
	l, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var hosts []*Host
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for _, pattern := range []string{filepath.Join(cgroups, "*", l.id+"*"), l.netns(), l.dir + "*"} {
			if left, _ := filepath.Glob(pattern); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
		for _, h := range hosts {
			noDisk(t, h)
		}
	})
	for _, cfg := range []HostConfig{{Name: "a", Addr: "10.99.0.1"}, {Name: "b", Addr: "10.99.0.2", Append: map[string]string{"/etc/hosts": "10.99.0.1 there\n"}}} {
		h, err := l.Add(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	start := time.Now()
	booted := make(chan error, 2)
	for _, h := range hosts {
		go func() { booted <- h.Boot(t.Context()) }()
	}
	for range hosts {
		if err := <-booted; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("two hosts boot in %v", time.Since(start).Round(time.Millisecond))
	return l, hosts[0], hosts[1]
}

// noDisk looks for the loop device of a host that is gone.
func noDisk(t *testing.T, h *Host) {
	t.Helper()
	// The kernel may need a moment to see that it is no longer in use.
	file, image := filepath.Join("/sys/block", filepath.Base(h.loop), "loop", "backing_file"), []byte(nil)
	for end := time.Now().Add(killTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var err error
		// Another lab may have got the device since.
		if image, err = os.ReadFile(file); err != nil || !strings.Contains(string(image), "/"+h.Name+"/disk.img") {
			return
		}
	}
	t.Errorf("left behind: %s, which is %s", h.loop, image)
}

func say(t *testing.T, h *Host, lines, want string) {
	t.Helper()
	r, err := h.Run(t.Context(), Command{Lines: lines})
	if got := strings.TrimSpace(r.Out); err != nil || got != want {
		t.Errorf("%s: %s: %q, want %q: %v", h.Name, lines, got, want, err)
	}
}

func TestHostsAreMachinesOfTheirOwn(t *testing.T) {
	l, a, b := pair(t)
	say(t, a, "hostname; systemctl is-system-running; ls /proc | grep -c '^1$'", "a\nrunning\n1")
	say(t, b, "ping -c1 -W2 there >/dev/null && echo there; cat /root/nothing 2>/dev/null || echo nothing", "there\nnothing")
	say(t, b, "ping -c1 -W1 1.1.1.1 >/dev/null 2>&1 || echo alone", "alone")

	unit := "[Service]\nExecStart=sleep 1000\n"
	for _, h := range []*Host{a, b} {
		if err := h.WriteFile("/etc/systemd/system/nap.service", unit); err != nil {
			t.Fatal(err)
		}
		say(t, h, "systemctl daemon-reload; systemctl start nap; systemctl is-active nap", "active")
		if n := len(h.UnitProcesses("nap.service")); n != 1 {
			t.Errorf("the unit on %s has %d processes", h.Name, n)
		}
	}
	if _, err := l.Dial(t.Context(), "tcp", "10.99.0.1:1"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("dialling where nobody listens: %v", err)
	}
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.Boot(t.Context()); err != nil {
		t.Error(err)
	}
	if log := a.Journal(t.Context(), 300, "_SYSTEMD_UNIT=init.scope"); strings.Count(log, "Reached target") < 2 {
		t.Errorf("the journal of two boots:\n%s", log)
	}
}

func TestWhatHappensToAPiHappensToAHost(t *testing.T) {
	_, a, b := pair(t)
	ctx := t.Context()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const ping = "ping -c1 -W1 10.99.0.1 >/dev/null && echo yes || echo no"
	for _, cut := range []Cut{Both, In, Out} {
		do(a.Cable(ctx, cut))
		say(t, b, ping, "no")
		do(a.Cable(ctx, None))
		say(t, b, "for i in 1 2 3 4 5; do ping -c1 -W1 10.99.0.1 >/dev/null && break; done && echo yes", "yes")
	}
	do(a.Freeze(ctx))
	short, cancel := context.WithTimeout(ctx, time.Second)
	if _, err := a.Run(short, Command{Lines: "systemctl is-active dbus"}); err == nil {
		t.Error("a frozen host answers")
	}
	cancel()
	a.Thaw()

	say(t, a, "cd /var/lib; echo kept >kept; sync kept; sync .; echo lost >lost", "")
	do(a.LosePower(ctx))
	do(a.Boot(ctx))
	say(t, a, "cd /var/lib; cat kept lost 2>/dev/null || true", "kept")

	say(t, a, "echo kept >/var/lib/pulled", "")
	do(a.Plug(ctx))
	do(a.Boot(ctx))
	say(t, a, "cat /var/lib/pulled", "kept")

	before, _, err := a.DiskWrites()
	do(err)
	say(t, a, "echo x >/var/lib/x; sync", "")
	if after, _, err := a.DiskWrites(); err != nil || after <= before {
		t.Errorf("%d writes after %d: %v", after, before, err)
	}
	do(a.FillDisk(1 << 20))
	say(t, a, "head -c 8M /dev/zero 2>&1 >/var/lib/y | grep -c 'No space'; rm /var/lib/y", "1")
	do(a.EmptyDisk())
	do(a.FailDisk())
	say(t, a, "touch /var/lib/z 2>&1 | grep -c 'Read-only'", "1")
	do(a.Plug(ctx))
	do(a.RepairDisk(ctx))
	do(a.Boot(ctx))
	say(t, a, "touch /var/lib/z && echo good", "good")
}

func TestLabOfAKilledTestIsRemoved(t *testing.T) {
	l, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Add(t.Context(), HostConfig{Name: "a", Addr: "10.99.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.unlock() // as the end of the process does it, which also kills nspawn
	next, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.dir); err == nil {
		t.Errorf("%s is still there", l.dir)
	}
	noDisk(t, h)
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatCanNotBeRemovedIsInNobodysWay(t *testing.T) {
	stuck := filepath.Join(cacheDir(), "labs", labPrefix+newID()[:6])
	if err := os.MkdirAll(filepath.Join(stuck, "stuck"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stuck+".lock", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), "chattr", "+i", stuck); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run(context.Background(), "chattr", "-i", stuck) }) // it is gone
	for i := range 2 {
		l, err := New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(stuck); (err == nil) != (i == 0) {
			t.Errorf("what is stuck, when it was tried %d times: %v", i+1, err)
		}
		if i == 0 {
			if err := run(t.Context(), "chattr", "-i", stuck); err != nil {
				t.Fatal(err)
			}
		}
	}
}
