package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
)

// Socket is the controller's control socket.
func (c *Cluster) Socket() string { return filepath.Join(c.sockets, "controller.sock") }

func (c *Cluster) nodeSocket(i int) string {
	return filepath.Join(c.sockets, fmt.Sprintf("node%d.sock", i+1))
}

// joinAll lets all nodes in, each by the command that a person runs.
func (c *Cluster) joinAll(ctx context.Context) error {
	if err := c.WaitReady(ctx, 0); err != nil {
		return err
	}
	token, err := c.Token(ctx, len(c.Nodes))
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := c.Join(ctx, n, token); err != nil {
			return err
		}
	}
	return nil
}

// Token asks the controller for a join token, as root does.
func (c *Cluster) Token(ctx context.Context, uses int) (string, error) {
	var answer struct{ Token string }
	err := c.Root(ctx, http.MethodPost, "/join-tokens", fmt.Sprintf(`{"uses": %d}`, uses), &answer)
	return answer.Token, err
}

// Root does a call over the controller's control socket.
func (c *Cluster) Root(ctx context.Context, method, path, body string, answer any) error {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.Socket())
	}}
	defer t.CloseIdleConnections()
	api := &API{URL: "http://localhost", HTTP: &http.Client{Transport: t}}
	req, err := http.NewRequestWithContext(ctx, method, api.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	want := http.StatusOK
	if path == "/join-tokens" || path == "/access-tokens" || strings.HasSuffix(path, "/replace") {
		want = http.StatusCreated
	}
	resp, err := api.Do(req, want)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Join lets a node in that runs and may be starting still.
func (c *Cluster) Join(ctx context.Context, n *Daemon, token string) error {
	var out []byte
	err := c.Wait(ctx, n.Name()+" to join", func(ctx context.Context) bool {
		args := append([]string{"join"}, n.args...)
		cmd := exec.CommandContext(ctx, n.path, append(args, "--token-file", "-", Loopback(c.Ports.HTTP))...)
		cmd.Stdin = strings.NewReader(token)
		var err error
		out, err = cmd.CombinedOutput()
		var ended *exec.ExitError
		return err == nil || !errors.As(err, &ended) || ended.ExitCode() != 69 // nothing listens yet
	})
	if err != nil || !strings.Contains(string(out), "oined") {
		return fmt.Errorf("join %s: %w: %s", n.Name(), errors.Join(err, errors.New("it did not join")), out)
	}
	return nil
}
