package service

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
)

var errDisk, errUnread = errors.New("another disk"), errors.New("input/output error")

// fakeConfig is a configuration of any keys.
type fakeConfig map[string]string

func (c fakeConfig) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "path = %q\n", c["path"])
	return err
}

func (c fakeConfig) Values() map[string]string { return maps.Clone(c) }

// runDaemon runs a daemon whose Serve returns what serve gives it.
func runDaemon(ctx context.Context, serve func(context.Context) error, args ...string) (status int, stdout, stderr string) {
	var out, log bytes.Buffer
	extra := false
	d := Daemon[fakeConfig]{
		Program: "raid-test", Version: "1.2.3",
		Flags: func(fs *flag.FlagSet) { fs.BoolVar(&extra, "extra", false, "more") },
		Load: func(path string, env []string) (fakeConfig, error) {
			if path == "bad" {
				return nil, errors.New("bad:1:2: wrong")
			}
			if path == "unread" {
				return nil, errUnread
			}
			return fakeConfig{"path": path}, nil
		},
		Level:  func(c fakeConfig) string { return c[levelKey] },
		Unread: func(err error) bool { return errors.Is(err, errUnread) },
		Serve:  func(ctx context.Context, _ fakeConfig, _ *slog.Logger, _ *Notifier) error { return serve(ctx) },
		Refused: func(err error) bool {
			return errors.Is(err, errDisk)
		},
	}
	status = d.Run(ctx, args, nil, &out, &log)
	return status, out.String(), log.String()
}

func TestDaemonEndsWithTheStatusThatSystemdExpects(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		err    error
		args   []string
		status int
		stderr string
	}{
		{"ended by itself", t.Context(), nil, nil, ExitOK, "stopped"},
		{"stopped", stopped, context.Canceled, nil, ExitOK, "stopped"},
		{"cancelled without a signal", t.Context(), context.Canceled, nil, ExitFailed, "raid-test ends: context canceled"},
		{"failed", t.Context(), errors.New("port taken"), nil, ExitFailed, "raid-test ends: port taken"},
		{"failed while stopping", stopped, errors.New("catalog broken"), nil, ExitFailed, "catalog broken"},
		{"refused disk", t.Context(), fmt.Errorf("open: %w", errDisk), nil, ExitConfig, "raid-test refuses to run: open: another disk"},
		{"refused configuration", t.Context(), nil, []string{"--config", "bad"}, ExitConfig, "raid-test: the configuration is refused:\nbad:1:2: wrong\n"},
		{"unread configuration", t.Context(), nil, []string{"--config", "unread"}, ExitFailed, "raid-test: the configuration can't be read:\ninput/output error\n"},
		{"refused by check", t.Context(), nil, []string{"--config=bad", "--check-config"}, ExitConfig, "bad:1:2: wrong"},
		{"unknown flag", t.Context(), nil, []string{"--nope"}, ExitUsage, "-nope"},
		{"argument", t.Context(), nil, []string{"nope"}, ExitUsage, `"nope" is not understood here`},
		{"log level", t.Context(), nil, []string{"--log-level", "loud"}, ExitUsage, `"loud" is no log level`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := runDaemon(c.ctx, func(context.Context) error { return c.err }, c.args...)
			if status != c.status || !strings.Contains(stderr, c.stderr) || stdout != "" {
				t.Errorf("status %d, want %d; stdout %q, stderr %q", status, c.status, stdout, stderr)
			}
		})
	}
}

func TestDaemonAnswersQuestionsWithoutServing(t *testing.T) {
	for args, want := range map[string]string{
		"--version":                 "raid-test 1.2.3 (go",
		"--check-config":            "raid-test: the configuration is good\n",
		"--print-config":            "path = \"\"\n",
		"--print-config --config x": "path = \"x\"\n",
		"--help":                    "Usage: raid-test [flags]\n",
		"-h":                        "-extra\n",
	} {
		status, stdout, stderr := runDaemon(t.Context(), func(context.Context) error {
			t.Errorf("%s: it served", args)
			return nil
		}, strings.Fields(args)...)
		if status != ExitOK || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
	}
}

func TestGetenvTakesTheLastOfTwo(t *testing.T) {
	get := Getenv([]string{"A=1", "AB=2", "A=3", "=x", "B"})
	if get("A") != "3" || get("AB") != "2" || get("B") != "" || get("C") != "" {
		t.Errorf("A=%q AB=%q B=%q", get("A"), get("AB"), get("B"))
	}
}
