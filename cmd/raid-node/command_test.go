package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
)

// newCA is an array's CA and a token for it.
func newCA(t *testing.T) (*identity.CA, identity.Token) {
	t.Helper()
	ca, err := identity.OpenCA(t.TempDir(), "0000000000000000000001", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token, err := identity.NewToken(ca.Pin(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ca, token
}

// refusing is a controller that knows no token; asked runs before it says so.
func refusing(t *testing.T, ca *identity.CA, asked func()) (port string) {
	t.Helper()
	own, err := ca.IssueController(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	https, err := ca.IssueHTTPS(identity.Hosts{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	members := ca.ServerTLS(own, func(raid.NodeID, identity.Pin) error { return identity.ErrForeign })
	srv := &http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked()
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"This token expired 12 minutes ago. On the controller: sudo raidctl token create"}`)
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(tls.NewListener(ln, ca.PortTLS(func() *tls.Certificate { return &https }, members)))
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// TestPipedTokenIsInNoProcessListAndNoLog pastes the line that a person pastes,
// and looks at all processes while the controller is being asked.
func TestPipedTokenIsInNoProcessListAndNoLog(t *testing.T) {
	ca, token := newCA(t)
	secret := strings.Split(token.String(), "-")[3]
	seen := make(chan []string, 1)
	port := refusing(t, ca, func() { seen <- processesWith(secret) })
	env := append(os.Environ(), settings(t.TempDir())...)
	var log bytes.Buffer
	daemon := exec.CommandContext(t.Context(), binary, "--log-level", "debug")
	daemon.Env, daemon.Stderr = env, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	untilStatusWorks(t, env)

	join := exec.CommandContext(t.Context(), binary, "join", "127.0.0.1:"+port, "--token-file", "-")
	join.Env, join.Stdin = env, strings.NewReader(token.String()+"\n")
	out, err := join.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != node.ExitRefused || string(out) != "raid-node: This token expired 12 minutes ago. On the controller: sudo raidctl token create\n" {
		t.Errorf("it ends with %v and says %s", err, out)
	}
	if found := <-seen; len(found) > 0 {
		t.Errorf("the secret is in %v", found)
	}
	show := exec.CommandContext(t.Context(), binary, "status")
	show.Env = env
	status, err := show.Output()
	if err != nil || !strings.Contains(string(status), "Joined      no\n") {
		t.Errorf("status: %v\n%s", err, status)
	}
	_ = daemon.Process.Signal(os.Interrupt) // it is waited for
	if err := daemon.Wait(); err != nil {
		t.Error(err)
	}
	if all := log.String() + string(out) + string(status); strings.Contains(all, secret) {
		t.Errorf("the secret is in\n%s", all)
	}
}

// processesWith are the processes whose command line or environment holds a
// text.
func processesWith(text string) (found []string) {
	for _, what := range []string{"cmdline", "environ"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + what)
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(text)) {
				found = append(found, f)
			}
		}
	}
	return found
}

func untilStatusWorks(t *testing.T, env []string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		cmd := exec.CommandContext(t.Context(), binary, "status")
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err == nil {
			return
		} else if time.Now().After(end) {
			t.Fatalf("status: %v\n%s", err, out)
		}
	}
}

func TestCommandLinesAreReadAsPeopleWriteThem(t *testing.T) {
	_, token := newCA(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "control.sock")
	mistyped := strings.Replace(token.String(), token.ID(), strings.Repeat("0", len(token.ID())), 1)
	const noDaemon = "raid-node does not run here"
	for line, want := range map[string]struct {
		stdin string
		exit  int
		words string
	}{
		"join":                                    {exit: node.ExitUsage, words: "the controller's HOST is missing"},
		"join pi.local":                           {exit: node.ExitUsage, words: "the token is missing: paste the whole line"},
		"join TOKEN":                              {exit: node.ExitUsage, words: "HOST comes first"},
		"join pi.local TOKEN x":                   {exit: node.ExitUsage, words: "an argument too many"},
		"join https://pi.local:9000 TOKEN":        {exit: node.ExitUnreachable, words: noDaemon},
		"join http://pi.local TOKEN":              {exit: node.ExitUsage, words: "nodes join over HTTPS"},
		"join https://pi.local/x TOKEN":           {exit: node.ExitUsage, words: "nodes join over HTTPS"},
		"join fe80::1%lo TOKEN":                   {exit: node.ExitUnreachable, words: noDaemon},
		"join [fe80::1%25lo]:9000 TOKEN":          {exit: node.ExitUnreachable, words: noDaemon},
		"join pi.local TOKEN --address :1":        {exit: node.ExitUsage, words: "is no address of a controller"},
		"join pi.local:x TOKEN":                   {exit: node.ExitUsage, words: "is no address of a controller"},
		"join pi.local TOKEN --tokenfile x":       {exit: node.ExitUsage, words: "see raid-node join --help"},
		"join pi.local TOKEN --token-file FILE":   {exit: node.ExitUsage, words: "given twice"},
		"join pi.local --token-file /none":        {exit: node.ExitUsage, words: "no such file"},
		"join pi.local MISTYPED":                  {exit: node.ExitToken, words: "This token was mistyped (checksum). Copy the whole line again"},
		"join pi.local --token-file -":            {stdin: "\n", exit: node.ExitToken, words: "not a token"},
		"join pi.local TOKEN":                     {exit: node.ExitUnreachable, words: noDaemon},
		"join --adopt pi.local --token-file FILE": {exit: node.ExitUnreachable, words: noDaemon},
		"join pi.local --token-file - --adopt":    {stdin: token.String(), exit: node.ExitUnreachable, words: noDaemon},
		"join [::1]:9443 TOKEN --address ::1":     {exit: node.ExitUnreachable, words: noDaemon},
		"join fe80::1 TOKEN":                      {exit: node.ExitUnreachable, words: noDaemon},
		"leave":                                   {exit: node.ExitUnreachable, words: noDaemon},
		"leave --force":                           {exit: node.ExitUnreachable, words: noDaemon},
		"leave now":                               {exit: node.ExitUsage, words: "an argument too many"},
		"reset-identity":                          {exit: node.ExitUnreachable, words: noDaemon},
		"status":                                  {exit: node.ExitUnreachable, words: noDaemon},
		"status --config /none":                   {exit: node.ExitSetRight, words: "the configuration is refused"},
		"join --help":                             {exit: 0, words: "Usage: raid-node join HOST[:PORT] [TOKEN] [flags]"},
		"joyn":                                    {exit: 2, words: `"joyn" is not understood here`},
	} {
		args := strings.Fields(strings.NewReplacer("TOKEN", token.String(), "MISTYPED", mistyped, "FILE", file).Replace(line))
		var out bytes.Buffer
		exit := run(t.Context(), args, []string{"RAID_NODE_CONTROL_SOCKET=" + missing}, io.Reader(strings.NewReader(want.stdin)), &out, &out)
		if exit != want.exit || !strings.Contains(out.String(), want.words) {
			t.Errorf("raid-node %s: status %d, want %d\n%s", line, exit, want.exit, out.String())
		}
		if strings.Contains(out.String(), token.String()) {
			t.Errorf("raid-node %s: the token is in its answer", line)
		}
	}
}
