package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/reason/insider"
)

// attempt runs a controller that can't run, and returns what it says.
func attempt(t *testing.T, args []string, env ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	status := run(ctx, args, append(settings(t), env...), &out, &out)
	if ctx.Err() != nil {
		t.Errorf("%q, %q: it runs", args, env)
	}
	return status, out.String()
}

func TestNoInsidersWordsInWhatPeopleRead(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	check := func(what string, status int, text string) {
		t.Helper()
		if status == 0 || text == "" {
			t.Errorf("%s: status %d, %q", what, status, text)
		}
		for line := range strings.Lines(text) {
			if found := insider.Find(line); found != "" {
				t.Errorf("%s: %q in %q", what, found, line)
			}
		}
	}
	for _, line := range []string{
		"x", "--nope", "-z", "--config", "--config /none", "--config DIR", "--check-config=maybe", "--log-level x", "--log-level", "--give-up-commit x",
		"--give-up-commit -1", "--give-up-commit 99999999999999999999999", "--give-up-commit", "--new-ca=x", "status", "--check-config x",
	} {
		status, text := attempt(t, strings.Fields(strings.ReplaceAll(line, "DIR", dir)))
		check(line, status, text)
	}
	for i, text := range []string{
		"x", "x = ", "reserve = \"1 pound\"", "[http]\nlisten = \"x\"", "[http]\nlisten = 9000", "[http]\nmax_requests = \"many\"", "[raid]\ncopies = 1.5",
		"[raid]\ncopies = 99999999999999999999", "[nodes]\nsettle = \"soon\"", "[http", "reserve = \"1GiB", "a.b.c = 1", "[http]\n[http]\n", "\xff\xfe", "[http]\nnames = \"x\"",
	} {
		path := filepath.Join(dir, fmt.Sprintf("%d.toml", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, said := attempt(t, []string{"--config", path, "--check-config"})
		check(text, status, said)
	}
	for _, env := range []string{"HTTP_LISTEN=" + taken.Addr().String(), "HTTP_LISTEN=192.0.2.1:9000", "HTTP_LISTEN=nowhere.invalid:9000", "STATE_DIR=/dev/null/x", "STATE_DIR=x", "RAID_COPIES=x", "HTTP_AUTH=x"} {
		status, text := attempt(t, nil, "RAID_CONTROLLER_"+env)
		check(env, status, lastWords(text))
	}
}

// lastWords leave out what was logged before.
func lastWords(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
