package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("SERVICE_TEST_CHILD") != "" {
		hang()
	}
	goleak.VerifyTestMain(m)
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestLogIsOneLinePerEventAndLooksRightForItsReader(t *testing.T) {
	cases := []struct {
		name     string
		terminal bool
		getenv   func(string) string
		want     string // with the time replaced
	}{
		{"terminal", true, env("JOURNAL_STREAM", "1:2"), `time=T level=WARN msg="node\nup" node=a array=x text="b\n<0>c"` + "\n"},
		{"file", false, env(), `time=T level=WARN msg="node\nup" node=a array=x text="b\n<0>c"` + "\n"},
		{"journald", false, env("JOURNAL_STREAM", "1:2"), `<4>msg="node\nup" node=a array=x text="b\n<0>c"` + "\n"},
		{"systemd", false, env("NOTIFY_SOCKET", "/x"), `<4>msg="node\nup" node=a array=x text="b\n<0>c"` + "\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			log := NewLogger(LogConfig{Out: &out, Terminal: c.terminal, Getenv: c.getenv})
			log.Debug("not shown")
			log.With("node", "a").With("array", "x").Warn("node\nup", "text", "b\n<0>c")
			got := out.String()
			if rest, ok := strings.CutPrefix(got, "time="); ok {
				_, rest, _ = strings.Cut(rest, " ")
				got = "time=T " + rest
			}
			if got != c.want {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}

func TestPriorityCoversLevelsBetweenTheNamedOnes(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4: "<7>", slog.LevelDebug: "<7>", slog.LevelInfo: "<6>", slog.LevelInfo + 1: "<6>",
		slog.LevelWarn: "<4>", slog.LevelWarn + 1: "<4>", slog.LevelError: "<3>", slog.LevelError + 4: "<3>",
	} {
		if got := priority(level); got != want {
			t.Errorf("%v: %s, want %s", level, got, want)
		}
	}
}

func TestLogLevelComesFromFlagThenEnvironmentThenConfiguration(t *testing.T) {
	for _, c := range []struct {
		args          []string
		env, config   string
		status        int
		debug, wanted bool
	}{
		{nil, "", "info", ExitOK, false, true}, {[]string{"--log-level", "debug"}, "", "info", ExitOK, true, true},
		{nil, "LOG_LEVEL=DEBUG", "info", ExitOK, true, true}, {nil, "", "debug", ExitOK, true, true},
		{[]string{"--log-level", "info"}, "LOG_LEVEL=debug", "debug", ExitOK, false, true}, {nil, "LOG_LEVEL=info", "debug", ExitOK, false, true},
		{[]string{"--log-level", "loud"}, "", "info", ExitUsage, false, false}, {nil, "LOG_LEVEL=loud", "info", ExitConfig, false, false},
		{[]string{"--log-level", "error"}, "LOG_LEVEL=loud", "info", ExitOK, false, true},
	} {
		debug, served := false, false
		d := Daemon[fakeConfig]{
			Program: "raid-test",
			Load:    func(string, []string) (fakeConfig, error) { return fakeConfig{levelKey: c.config}, nil },
			Level:   func(f fakeConfig) string { return f[levelKey] },
			Serve: func(_ context.Context, _ fakeConfig, log *slog.Logger, _ *Notifier) error {
				debug, served = log.Enabled(context.Background(), slog.LevelDebug), true
				return nil
			},
		}
		if got := d.Run(t.Context(), c.args, []string{c.env}, io.Discard, io.Discard); got != c.status || served != c.wanted || debug != c.debug {
			t.Errorf("%+v: status %d, served %v, debug %v", c, got, served, debug)
		}
	}
}

type countingWriter struct {
	mu     sync.Mutex
	writes int
	torn   bool
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	w.torn = w.torn || bytes.Count(b, []byte("\n")) != 1 || !bytes.HasPrefix(b, []byte("<6>msg=")) || !bytes.HasSuffix(b, []byte("\n"))
	return len(b), nil
}

func TestConcurrentEventsDoNotMixTheirLines(t *testing.T) {
	w := &countingWriter{}
	log := NewLogger(LogConfig{Out: w, Getenv: env("NOTIFY_SOCKET", "x")})
	var wg sync.WaitGroup
	for i := range 8 {
		l := log.With("i", i)
		wg.Go(func() {
			for range 200 {
				l.WithGroup("g").Info("event", "x", strings.Repeat("y", i*10))
			}
		})
	}
	wg.Wait()
	if w.writes != 1600 || w.torn {
		t.Errorf("%d writes, torn %v", w.writes, w.torn)
	}
}

func TestNotifierSpeaksToTheServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	n := &Notifier{}
	n.Ready()
	n.Status("3/4 nodes\nREADY=0")
	n.Status("3/4 nodes\nREADY=0") // the same: not sent
	n.Stopping()
	for _, want := range []string{"READY=1", "STATUS=3/4 nodes READY=0", "STOPPING=1"} {
		b := make([]byte, 1000)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		k, err := conn.Read(b)
		if err != nil || string(b[:k]) != want {
			t.Fatalf("got %q, %v; want %q", b[:k], err, want)
		}
	}
}

func TestNotifierWithoutListenerComplainsOnce(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(LogConfig{Out: &out})
	t.Setenv("NOTIFY_SOCKET", "")
	n := &Notifier{Log: log}
	n.Ready()
	if out.Len() > 0 {
		t.Errorf("without a service manager it logs %s", &out)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	n.Ready()
	n.Status("x")
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("%d lines: %s", got, &out)
	}
}

func TestFirstSignalEndsTheContext(t *testing.T) {
	ctx, stop := Context(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the context did not end")
	}
	var s Signalled
	if !errors.As(context.Cause(ctx), &s) || s.ExitStatus() != 143 {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}

func TestStopEndsTheContextWithoutASignal(t *testing.T) {
	ctx, stop := Context(t.Context())
	stop()
	stop()
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}

// hang is a daemon that ignores the end of its context.
func hang() {
	ctx, _ := Context(context.Background())
	os.Stdout.WriteString("ready\n")
	<-ctx.Done()
	os.Stdout.WriteString("stopping\n")
	select {}
}

func TestSecondSignalEndsAProcessThatHangs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "SERVICE_TEST_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ready\n", "stopping\n"} {
		b := make([]byte, 100)
		if n, err := out.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("child says %q, %v; want %q", b[:n], err, want)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	err = cmd.Wait()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("child ended with %v, want by the signal", err)
	}
}

func TestVersionLineNamesProgramAndVersion(t *testing.T) {
	if got := VersionLine("raid-node", "1.2.3"); !strings.HasPrefix(got, "raid-node 1.2.3 (go") {
		t.Error(got)
	}
	if Version("") == "" {
		t.Error("no version at all")
	}
}
