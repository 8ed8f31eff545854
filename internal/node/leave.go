package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// LeaveOrder is the wish to leave the array.
type LeaveOrder struct {
	// Force leaves although this node has copies of files, or the controller can't be
	// told.
	Force bool `json:"force"`
	// Lose is the number of files that may be lost with it, as many as the controller finds. An
	// older controller does not know the field, so it is left out where it says nothing.
	Lose int64 `json:"lose,omitempty"`
}

// leave tells the controller, and then forgets the array.
func (d *daemon) leave(ctx context.Context, order LeaveOrder) (*Done, error) {
	if !d.busy.TryLock() {
		return nil, errBusy()
	}
	defer d.busy.Unlock()
	who, err := identity.LoadNode(d.identityDir(), d.machine)
	switch {
	case errors.Is(err, identity.ErrNotJoined):
		return &Done{Message: "This node has not joined an array; nothing was changed"}, nil
	case errors.Is(err, identity.ErrClone): // the original would be put out
		return nil, fail(ExitSetRight, err, clone)
	case err != nil:
		return nil, fail(ExitSetRight, err, "This node's identity can't be used: %v", err)
	}
	if err := d.checkOwnDisk(who, order.Force); err != nil {
		return nil, err
	}
	done := &Done{}
	if err := d.sayGoodbye(ctx, who, order); err != nil {
		var no *answerError
		if !order.Force || errors.As(err, &no) && no.status == http.StatusConflict {
			return nil, err
		}
		done.Warnings = append(done.Warnings, fmt.Sprintf("The controller does not know that the node has left (%s). There: sudo raidctl node remove --force %s", failureOf(err).Message, who.ID()))
	}
	id, kept, err := d.takeNewID(ctx)
	if err != nil {
		return nil, err
	}
	d.cfg.Log.Info("Left", "array", who.Array(), "was", who.ID(), "node", id)
	done.Message = fmt.Sprintf("This node has left array %s; from now on it is node %s.%s", who.Array(), id, d.keptText(kept))
	return done, nil
}

// sayGoodbye has the controller remove this node. A controller that says it has done so is
// believed. One that does not know the node, such as one with an older catalog, is not. It can't
// say whether the chunks on this disk are needed.
func (d *daemon) sayGoodbye(ctx context.Context, who *identity.Node, order LeaveOrder) error {
	place := d.controllerAddress()
	err := (&call{host: place.Host, port: place.HTTPPort, tls: who.PortTLS(), path: "/v1/nodes/leave",
		body: func(tls.ConnectionState) (any, error) { return order, nil }}).do(ctx, d.dial, &struct{}{})
	var no *answerError
	if errors.As(err, &no) && no.status == http.StatusGone {
		return nil
	}
	if f := new(Failure); errors.As(err, &f) && !order.Force && f.Exit != ExitSetRight {
		return fail(f.Exit, f, "%s. To forget the array here all the same: sudo raid-node leave --force", f.Message)
	}
	return err
}

// checkOwnDisk refuses to set the chunks of another node aside, whose disk is in this
// machine. Nobody has asked whether the array needs them.
func (d *daemon) checkOwnDisk(who *identity.Node, force bool) error {
	l := d.current.Load()
	if force || who == nil || d.disk.Node() == who.ID() || l == nil || l.store.Stats().Chunks == 0 {
		return nil
	}
	return fail(ExitSetRight, nil, "The disk in %s is that of node %s, with %d chunks, and this machine joined as node %s. %s. To set its chunks aside all the same, add --force",
		d.cfg.ChunkDir, d.disk.Node(), l.store.Stats().Chunks, who.ID(), rejoinText(d.disk.Node()))
}

// rejoinText says how a machine becomes the node whose disk it has.
func rejoinText(id raid.NodeID) string {
	return fmt.Sprintf("To go on as node %s, with its chunks: sudo raid-node reset-identity --keep-id, then join with a token for it (on the controller: sudo raidctl token create --node %s)", id, id)
}

// keptText is a sentence that says where chunks have gone, "" when there are none.
func (d *daemon) keptText(kept string) string {
	if kept == "" {
		return ""
	}
	return fmt.Sprintf(" Its chunks are kept in %s; the array does not find them there.", filepath.Join(d.cfg.ChunkDir, kept))
}

// ResetOrder is the wish to forget the array without a word to anybody.
type ResetOrder struct {
	KeepID bool `json:"keep_id"` // stay the node that the disk is
	Force  bool `json:"force"`   // although the disk is another node's and has chunks
}

// reset forgets the array without a word to anybody.
func (d *daemon) reset(ctx context.Context, order ResetOrder) (*Done, error) {
	if !d.busy.TryLock() {
		return nil, errBusy()
	}
	defer d.busy.Unlock()
	who, err := identity.LoadNode(d.identityDir(), d.machine)
	if err != nil {
		who = nil // of no use: a clone's, or there is none
	}
	if order.KeepID {
		if _, err := d.between(ctx, func() error { return d.forget() }); err != nil {
			return nil, err
		}
		return &Done{Message: fmt.Sprintf("The identity is forgotten, and this is still node %s. Join with a token for it (on the controller: sudo raidctl token create --node %s)", d.disk.Node(), d.disk.Node())}, nil
	}
	if err := d.checkOwnDisk(who, order.Force); err != nil {
		return nil, err
	}
	id, kept, err := d.takeNewID(ctx)
	if err != nil {
		return nil, err
	}
	d.cfg.Log.Info("Identity was reset", "node", id)
	done := &Done{Message: fmt.Sprintf("This is node %s now, of no array.%s To join one: sudo raid-node join, with a token of its controller", id, d.keptText(kept))}
	if who != nil { // a clone's old id is in use by another
		done.Warnings = append(done.Warnings, fmt.Sprintf("If this machine was node %s and no other is, array %s has lost it: there, sudo raidctl node remove --force %s. If this card is a copy, the original goes on under that name", who.ID(), who.Array(), who.ID()))
	}
	return done, nil
}

// takeNewID forgets the array and goes on under a new node id. The id comes first.
// A node that dies before the identity is gone has one that does not fit the disk, and is
// told to reset it.
func (d *daemon) takeNewID(ctx context.Context) (id raid.NodeID, kept string, err error) {
	_, err = d.between(ctx, func() error {
		if id, kept, err = d.disk.NewNode(); err != nil {
			return err
		}
		return d.forget()
	})
	return id, kept, err
}

func (d *daemon) forget() error {
	if err := identity.Forget(d.identityDir()); err != nil {
		return err
	}
	return forgetAddress(d.cfg.StateDir)
}
