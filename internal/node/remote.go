package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// Remote tells the daemon on this machine what to do. Its errors are Failures.
type Remote struct {
	Socket string // path of its control socket
}

// Join has the node join an array.
func (r Remote) Join(ctx context.Context, order JoinOrder) (*Done, error) {
	return r.order(ctx, "/join", order)
}

// Leave has the node leave its array.
func (r Remote) Leave(ctx context.Context, order LeaveOrder) (*Done, error) {
	return r.order(ctx, "/leave", order)
}

// ResetIdentity has the node forget its array.
func (r Remote) ResetIdentity(ctx context.Context, order ResetOrder) (*Done, error) {
	return r.order(ctx, "/reset-identity", order)
}

// Status asks how the node is.
func (r Remote) Status(ctx context.Context) (*Status, error) {
	s := &Status{}
	return s, r.ask(ctx, http.MethodGet, "/status", nil, s)
}

func (r Remote) order(ctx context.Context, path string, order any) (*Done, error) {
	content, err := json.Marshal(order)
	if err != nil {
		return nil, fmt.Errorf("write a request: %w", err)
	}
	done := &Done{}
	return done, r.ask(ctx, http.MethodPost, path, bytes.NewReader(content), done)
}

func (r Remote) ask(ctx context.Context, method, path string, body io.Reader, answer any) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.Socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return r.notReached(err)
	}
	defer resp.Body.Close()
	in := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		f := &Failure{}
		if err := in.Decode(f); err != nil || f.Exit == 0 {
			return fail(ExitSetRight, err, "The daemon on %s answered with status %d; are it and this raid-node of the same version?", r.Socket, resp.StatusCode)
		}
		return f
	}
	if err := in.Decode(answer); err != nil {
		return fail(ExitAgain, err, "The daemon's answer broke off; look with raid-node status")
	}
	return nil
}

func (r Remote) notReached(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fail(ExitUnreachable, err, "raid-node does not run here, or has another control_socket than %s. Try: sudo systemctl start raid-node", r.Socket)
	case errors.Is(err, fs.ErrPermission):
		return fail(ExitRefused, err, "Only root and the daemon's user may use %s: run it with sudo", r.Socket)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fail(ExitAgain, err, "Interrupted; look with raid-node status")
	}
	return fail(ExitAgain, err, "The daemon ended before it answered; look at: journalctl -u raid-node")
}
