package cluster

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shell is a daemon that runs a line of sh.
func shell(t *testing.T, line string) *Daemon {
	t.Helper()
	d := NewDaemon(DaemonConfig{Name: "shell", Path: "/bin/sh", Args: []string{"-c", line}, Log: filepath.Join(t.TempDir(), "log")})
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Kill(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func waitForLog(t *testing.T, d *Daemon, want string) {
	t.Helper()
	for range 500 {
		if strings.Contains(d.LogText(), want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log never says %q but:\n%s", want, d.LogText())
}

func TestDaemonCanBeKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	d := shell(t, "echo begun; exec sleep 1000")
	waitForLog(t, d, "begun")
	first := d.Pid()
	if err := d.Start(); err == nil {
		t.Error("a running daemon was started a second time")
	}
	if err := d.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := d.Kill(); err != nil { // frozen as it is
		t.Fatal(err)
	}
	if d.Pid() != 0 || d.ExitCode() != -1 {
		t.Errorf("after Kill: pid %d, exit code %d", d.Pid(), d.ExitCode())
	}
	if _, err := d.Usage(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("usage of a dead daemon: %v", err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, d, "begun\nbegun")
	if d.Pid() == first {
		t.Error("the second life has the first one's pid")
	}
}

func TestDaemonThatEndsByItselfIsNoticed(t *testing.T) {
	t.Parallel()
	d := shell(t, "exit 78")
	<-d.Exited()
	if d.ExitCode() != 78 || d.Pid() != 0 {
		t.Errorf("exit code %d, pid %d, want 78 and 0", d.ExitCode(), d.Pid())
	}
}

func TestTerminateTellsBadEndings(t *testing.T) {
	t.Parallel()
	good := shell(t, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	waitForLog(t, good, "ready")
	if err := good.Terminate(5 * time.Second); err != nil {
		t.Error(err)
	}
	bad := shell(t, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done")
	waitForLog(t, bad, "ready")
	if err := bad.Terminate(5 * time.Second); err == nil {
		t.Error("status 3 passes for a good end")
	}
	deaf := shell(t, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
	waitForLog(t, deaf, "ready")
	if err := deaf.Terminate(50 * time.Millisecond); err == nil {
		t.Error("a daemon that ignores SIGTERM passes for ended")
	}
}

func TestUsageReadsProc(t *testing.T) {
	t.Parallel()
	d := shell(t, "while :; do :; done")
	var u Usage
	for range 300 {
		var err error
		if u, err = d.Usage(); err != nil {
			t.Fatal(err)
		}
		if u.CPU > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if u.CPU <= 0 || u.RSS <= 0 || u.PeakRSS < u.RSS || u.Threads != 1 {
		t.Errorf("a busy shell uses %+v", u)
	}
	if err := d.ResetPeak(); err != nil {
		t.Error(err)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	for try := 1; ; try++ {
		ports, err := Free(50)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(ports)
		if len(slices.Compact(slices.Clone(ports))) != 50 {
			t.Errorf("some of 50 ports are the same: %v", ports)
		}
		p, taken := Taken(ports...)
		if !taken {
			return
		}
		if try == 5 { // tests of other packages take some of the same range at any time
			t.Fatalf("port %d is said to be free and taken, like another one four times before", p)
		}
	}
}

func TestContentIsReproducible(t *testing.T) {
	t.Parallel()
	a, b := Content{Seed: 1, Size: 100_000}, Content{Seed: 2, Size: 100_000}
	if again := (Content{Seed: 1, Size: 100_000}); a.SHA256() != again.SHA256() || a.SHA256() == b.SHA256() || len(a.Bytes()) != 100_000 {
		t.Error("content does not follow from its seed")
	}
}

func TestChunkNamesAreReadInBothForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Names{
		`"RsZ5t,vJBU"`: {"RsZ5t", "vJBU"}, `["RsZ5t","vJBU"]`: {"RsZ5t", "vJBU"}, `""`: nil, `null`: nil,
	} {
		var got Names
		if err := json.Unmarshal([]byte(text), &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v (%v), want %v", text, got, err, want)
		}
	}
}
