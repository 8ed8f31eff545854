package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"

	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/reason/insider"
)

func TestNoInsidersWordsInWhatPeopleRead(t *testing.T) {
	dir := t.TempDir()
	token, err := identity.NewToken(identity.Pin{1}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := manage(t, filepath.Join(dir, "node"))
	m.Ready()
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
	attempt := func(line string, socket string) {
		t.Helper()
		var out bytes.Buffer
		args := strings.Fields(strings.NewReplacer("TOKEN", token.String(), "DIR", dir).Replace(line))
		status := run(t.Context(), args, []string{"RAID_NODE_CONTROL_SOCKET=" + socket}, strings.NewReader(""), &out, &out)
		check(line, status, out.String())
	}
	for _, line := range []string{
		"x", "--nope", "-z", "--config", "--config /none", "--config DIR", "--check-config=maybe", "--log-level x", "--new-disk=x", "join", "join pi", "join pi x", "join pi TOKEN x",
		"join pi --token-file /none", "join pi --token-file DIR", "join pi --token-file -", "join pi TOKEN --nope", "join pi:port TOKEN", "join pi:0 TOKEN", "join fe80::1% TOKEN",
		"join [::1 TOKEN", "join http://pi TOKEN", "join pi --adopt=maybe TOKEN", "join TOKEN", "leave x", "leave --force=x", "reset-identity x", "status x", "status", "leave", "join pi TOKEN",
	} {
		attempt(line, filepath.Join(dir, "none"))
	}
	odd := oddServers(t)
	for _, address := range append(odd, "127.0.0.1:1", "nowhere.invalid", "nobody-there.local", "fe80::1%nowhere", "0.0.0.0:1", "255.255.255.255") {
		attempt("join "+address+" TOKEN", filepath.Join(dir, "node", "control.sock"))
	}
	m.Stop()
	for i, text := range []string{"x", "reserve = \"x\"", "zone = 7", "[controller]\nhost = \"http://x\"", "[controller]\nstore_port = \"x\"", "[controller]\nstore_port = 99999999999999999999"} {
		path := filepath.Join(dir, fmt.Sprintf("%d.toml", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		check(text, run(t.Context(), []string{"--config", path, "--check-config"}, nil, nil, &out, &out), out.String())
	}
}

// oddServers are no controllers: one hangs up, one speaks first, one is a web server
// without TLS.
func oddServers(t *testing.T) (all []string) {
	t.Helper()
	serve := func(each func(net.Conn)) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				each(c)
				c.Close()
			}
		}()
		t.Cleanup(func() { ln.Close(); <-done })
		all = append(all, ln.Addr().String())
	}
	serve(func(net.Conn) {})
	serve(func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") })
	serve(func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	return all
}
