package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/config"
	"github.com/raidpi/raidpi/internal/controller"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/test/kit"
)

// binary is raid-controller, built once.
var binary string

func TestMain(m *testing.M) {
	code := kit.RunWithProgram(m, ".", func(built string) {
		binary = built
	})
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// settings is an environment for a controller on free ports.
func settings(t *testing.T) []string {
	env := []string{"RAID_CONTROLLER_STATE_DIR=" + t.TempDir(), "RAID_CONTROLLER_RESERVE=0", "RAID_CONTROLLER_HTTP_SOCKET=", "RAID_CONTROLLER_URL=http://raidctls:1"}
	for _, key := range []string{"HTTP_LISTEN", "NODES_STORE_LISTEN", "NODES_RESPONSE_LISTEN", "NODES_REQUEST_LISTEN"} {
		env = append(env, "RAID_CONTROLLER_"+key+"=127.0.0.1:0")
	}
	return env
}

func TestControllerTellsSystemdWhenItIsReadyAndWhenItStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(append(os.Environ(), settings(t)...), "NOTIFY_SOCKET="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	heard := map[string]bool{}
	wait := func(messages ...string) {
		t.Helper()
		for _, m := range messages {
			for !heard[m] {
				b := make([]byte, 4096)
				manager.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, err := manager.Read(b)
				if err != nil {
					t.Fatalf("waiting for %q, heard %v: %v", m, heard, err)
				}
				heard[string(b[:n])] = true
			}
		}
	}
	wait("READY=1", "STATUS="+noNodesYet) // in either order
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM it ends with %v", err)
	}
	for line := range strings.Lines(stderr.String()) {
		if !regexp.MustCompile(`^<[3467]>msg=`).MatchString(line) {
			t.Errorf("journald gets %q", line)
		}
	}
}

func TestControllerRefusesWhatItCannotRun(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(conf, []byte("[http]\nauth = \"tokens\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	stopped(t, damaged)
	if err := errors.Join(
		os.WriteFile(filepath.Join(damaged, "identity", "ca.pem"), []byte("-----BEGIN"), 0o600)); err != nil {
		t.Fatal(err)
	}
	noCatalog := t.TempDir()
	if err := os.WriteFile(filepath.Join(noCatalog, "catalog.db"), []byte("of another program"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		args, env []string
		status    int
		says      string
	}{
		{[]string{"--config", conf}, nil, 78, "c.toml:2:8: http.auth:"},
		{[]string{"--config", conf, "--print-config"}, nil, 78, "c.toml:2:8: http.auth:"},
		{[]string{"--check-config"}, []string{"RAID_CONTROLLER_HTTP_LISEN=:1"}, 78, "did you mean RAID_CONTROLLER_HTTP_LISTEN?"},
		{nil, []string{"RAID_CONTROLLER_HTTP_LISTEN=" + taken.Addr().String()}, 1, "address already in use"},
		{nil, []string{"RAID_CONTROLLER_STATE_DIR=/dev/null/x"}, 1, "/dev/null/x"},
		{nil, []string{"RAID_CONTROLLER_STATE_DIR=" + damaged}, 78, "ca.pem"},
		{nil, []string{"RAID_CONTROLLER_STATE_DIR=" + noCatalog}, 78, "It was left as it is, and so were the chunks on the nodes"},
		{[]string{"--what"}, nil, 2, "--help"},
		{[]string{"--give-up-commit", "0"}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit=0"}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit", ""}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit", "-1"}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit", "0x10"}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit", "12 34"}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit", "18446744073709551616"}, nil, 2, "no commit number"},
		{[]string{"--give-up-commit", "18446744073709551615"}, nil, 1, "stop the node that reports it"},
		{[]string{"--give-up-commit", "9000000000000000000"}, nil, 1, "stop the node that reports it"},
		{[]string{"--give-up-commit", "5"}, nil, 1, "stop the node that reports it"},
	} {
		cmd := exec.CommandContext(t.Context(), binary, c.args...)
		cmd.Env = append(append(os.Environ(), settings(t)...), c.env...)
		out, _ := cmd.CombinedOutput() // its status is looked at below
		if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(string(out), c.says) {
			t.Errorf("%v %v: status %d, want %d: %s", c.args, c.env, got, c.status, out)
		}
	}
}

// A key that the daemon does not hand on would be read, printed, and mean
// nothing.
func TestEveryKeyReachesTheController(t *testing.T) {
	env := []string{
		"STATE_DIR=/s", "RESERVE=1", "HTTP_LISTEN=:2", "HTTP_SOCKET=/t", "HTTP_PLAINTEXT=any", "HTTP_AUTH=token", "HTTP_NAMES=a,b", "HTTP_MAX_BODY=3", "HTTP_MAX_REQUESTS=4", "NODES_STORE_LISTEN=:5",
		"NODES_RESPONSE_LISTEN=:6", "NODES_REQUEST_LISTEN=:7", "NODES_PLAINTEXT=any", "NODES_SETTLE=8s", "RAID_COPIES=3",
		"RAID_STRIPE_SIZE=64KiB", "RAID_MAX_WHOLE_FILE=9", "RAID_DEGRADED_WRITES=false", "REPAIR_GRACE=10s", "REPAIR_SCRUB_EVERY=12h", "TRASH_KEEP=11s",
	}
	for i := range env {
		env[i] = config.ControllerPrefix + env[i]
	}
	compare := func(env []string) controller.Config {
		cfg, _, err := config.LoadController("/dev/null", env)
		if err != nil {
			t.Fatal(err)
		}
		c := compose(cfg, slog.New(slog.DiscardHandler), &service.Notifier{})
		if c.Log == nil || c.Random == nil || c.Listen == nil || c.ListenLocal == nil || c.Built.IsZero() || c.Ready == nil || c.Status == nil || c.Progress == nil || c.Watch == nil || c.Version == "" {
			t.Errorf("something of %+v is missing", c)
		}
		c.Log, c.Random, c.Listen, c.ListenLocal, c.Built, c.Ready, c.Status, c.Version = nil, nil, nil, nil, time.Time{}, nil, nil, ""
		c.Progress, c.Watch = nil, nil
		return c
	}
	want := controller.Config{
		StateDir: "/s", Reserve: 1, HTTPListen: ":2", HTTPSocket: "/t", HTTPPlain: wire.PlaintextAny, Auth: true, Names: []string{"a", "b"},
		MaxBody: 3, MaxRequests: 4, StoreListen: ":5", ResponseListen: ":6",
		RequestListen: ":7", Plaintext: wire.PlaintextAny, Settle: 8 * time.Second, Level: "raid1", Copies: 3, StripeSize: 64 << 10,
		MaxWholeFile: 9, DegradedWrites: false, Grace: 10 * time.Second, ScrubEvery: 12 * time.Hour, TrashKeep: 11 * time.Second,
	}
	if got := compare(env); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	want.StripeSize = 0
	if got := compare(append(env, "RAID_CONTROLLER_RAID_STRIPE_SIZE=file")); !reflect.DeepEqual(got, want) {
		t.Errorf("with whole files\ngot  %+v\nwant %+v", got, want)
	}
}
