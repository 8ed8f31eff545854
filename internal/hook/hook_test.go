package hook

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is a hook that runs a shell script. What the script writes goes to files in dir,
// which its text calls DIR.
type scene struct {
	*testing.T
	*Hook
	dir  string
	log  *kit.Log
	stop func()
}

func newScene(t *testing.T, limit time.Duration, script string) *scene {
	t.Helper()
	s := &scene{T: t, dir: t.TempDir(), log: &kit.Log{}}
	path := filepath.Join(s.dir, "program")
	if script != "" {
		// Written by another process's file descriptor it could be busy when it is executed.
		if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"+strings.ReplaceAll(script, "DIR", s.dir)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	s.Hook = New(Config{Path: path, Limit: limit, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := s.Hook.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s.stop = func() { cancel(); wait.Wait() }
	t.Cleanup(s.stop)
	return s
}

func (s *scene) file(name string) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, name)) // there may be none yet
	return string(text)
}

func (s *scene) eventually(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("waited in vain until %s; log: %s", what, s.log)
		}
	}
}

func event(n int) raid.Event {
	return raid.Event{Seq: int64(n), Kind: raid.NodeDown, Node: "n1", File: 7, Text: fmt.Sprint("text ", n), Advice: "look"}
}

func TestTheProgramGetsEachEvent(t *testing.T) {
	t.Setenv("SECRET", "of the daemon")
	s := newScene(t, time.Minute, `cat >>DIR/in; env >>DIR/env; pwd >>DIR/pwd`)
	for i := range 3 {
		s.Offer(event(i + 1))
	}
	s.eventually("all came", func() bool { return strings.Count(s.file("pwd"), "\n") == 3 })
	want := `{"seq":1,"at":"0001-01-01 00:00:00","kind":"node-down","node":"n1","file":7,"text":"text 1","advice":"look"}` + "\n"
	if in := s.file("in"); !strings.HasPrefix(in, want) || strings.Count(in, "\n") != 3 {
		t.Errorf("it got %s", in)
	}
	env := s.file("env")
	for _, line := range []string{"RAID_EVENT_KIND=node-down", "RAID_EVENT_TEXT=text 3", "RAID_EVENT_FILE=7", "RAID_EVENT_SEQ=2"} {
		if !strings.Contains(env, line+"\n") {
			t.Errorf("%s is not in its environment", line)
		}
	}
	if strings.Contains(env, "SECRET") {
		t.Error("the daemon's environment is handed on")
	}
	if s.log.String() != "" {
		t.Errorf("logged: %s", s.log)
	}
}

func TestOneThatFailsIsLoggedWithItsFirstLine(t *testing.T) {
	s := newScene(t, time.Minute, `echo "no route to mail host" >&2; yes | head -c 3000000; exit 3`)
	s.Offer(event(1))
	s.eventually("it is logged", func() bool { return s.log.String() != "" })
	if got := s.log.String(); !strings.Contains(got, "no route to mail host") || !strings.Contains(got, "exit status 3") || len(got) > 1000 {
		t.Errorf("logged: %.2000s", got)
	}
}

func TestOneThatIsMissingIsLogged(t *testing.T) {
	s := newScene(t, time.Minute, "")
	s.Offer(event(1))
	s.eventually("it is logged", func() bool { return strings.Contains(s.log.String(), "no such file") })
}

// alive reports whether a process whose id is in a file runs.
func (s *scene) alive(name string) bool {
	pid, err := strconv.Atoi(strings.TrimSpace(s.file(name)))
	if err != nil {
		s.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && unix.Kill(pid, 0) == nil && !strings.Contains(string(stat), ") Z ")
}

// It hangs with a child, ignores signals, and the next event is handed over all the same.
func TestOneThatHangsIsKilledWithItsChildren(t *testing.T) {
	s := newScene(t, time.Second, `trap "" TERM INT HUP; [ -e DIR/child ] && { touch DIR/second; exit; }; sleep 1000 & echo $! >DIR/child; wait; sleep 1000`)
	s.Offer(event(1))
	s.Offer(event(2))
	s.eventually("the next one came", func() bool { _, err := os.Stat(filepath.Join(s.dir, "second")); return err == nil })
	s.eventually("the child is gone", func() bool { return !s.alive("child") })
	if !strings.Contains(s.log.String(), "took too long") {
		t.Errorf("logged: %s", s.log)
	}
}

func TestWhatOneLeavesRunningIsKilled(t *testing.T) {
	s := newScene(t, time.Minute, `sleep 1000 & echo $! >DIR/child.new; mv DIR/child.new DIR/child`)
	s.Offer(event(1))
	s.eventually("it ran", func() bool { return s.file("child") != "" })
	s.eventually("the child is gone", func() bool { return !s.alive("child") })
	if s.log.String() != "" {
		t.Errorf("logged: %s", s.log)
	}
}

func TestTheEndKillsIt(t *testing.T) {
	s := newScene(t, time.Hour, `echo $$ >DIR/pid.new; mv DIR/pid.new DIR/pid; sleep 1000`)
	s.Offer(event(1))
	s.eventually("it runs", func() bool { return s.file("pid") != "" })
	s.stop()
	if s.alive("pid") {
		t.Error("it runs after the end")
	}
}

func TestTheQueueIsBoundedAndWhatIsSkippedIsTold(t *testing.T) {
	s := newScene(t, time.Minute, `echo "$RAID_EVENT_KIND $RAID_EVENT_TEXT" >>DIR/out; while [ ! -e DIR/go ]; do sleep 0.01; done`)
	s.Offer(event(0))
	s.eventually("the first one runs", func() bool { return s.file("out") != "" })
	for i := range maxQueue + 50 {
		s.Offer(event(i + 1))
	}
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is told", func() bool { return strings.Contains(s.file("out"), "events-lost 50 events were not handed") })
	if n := strings.Count(s.file("out"), "node-down"); n != maxQueue+1 {
		t.Errorf("%d events came", n)
	}
}
