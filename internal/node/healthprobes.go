package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
)

// watch has the node's parts asked whether they move. It begins with the first session.
func (d *daemon) watch(ctx context.Context) error {
	if d.cfg.Watch == nil {
		return nil
	}
	select {
	case <-d.begun:
	case <-ctx.Done():
		return nil
	}
	return d.cfg.Watch(ctx, d.healthProbes())
}

// healthProbes returns the parts of a node that have to move, with the probe of each. None waits
// for the controller.
//
// The disk is not among them. An SD card may keep an fsync for half a minute. A disk that hangs for
// good is not healed by another process, which could not even end this one. The node says in its
// heartbeats that it hangs, and the controller stops sending.
func (d *daemon) healthProbes() map[string]func(context.Context) error {
	parts := map[string]func(context.Context) error{
		"the chunk store": func(context.Context) error {
			d.current.Load().store.Stats()
			d.pool.InUse()
			return nil
		},
		"the connection with the controller": d.linkMoves(),
	}
	if d.control != nil {
		parts["the control socket"] = d.askControl
	}
	return parts
}

// linkMoves asks the link of the session that runs now.
func (d *daemon) linkMoves() func(context.Context) error {
	var asked *wire.Link
	var moves func(context.Context) error
	return func(ctx context.Context) error {
		link := d.current.Load().link
		if link == nil {
			return nil
		}
		if link != asked {
			asked, moves = link, service.Moves(link.Pulse)
		}
		return moves(ctx)
	}
}

// askControl asks for a sign of life over the control socket, and not for the status,
// which needs the card.
func (d *daemon) askControl(ctx context.Context) error {
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", d.cfg.ControlSocket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://raid-node/livez", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil // somebody took the socket away, or it is closed: nothing hangs
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /livez: the answer is %s", resp.Status)
	}
	return nil
}
