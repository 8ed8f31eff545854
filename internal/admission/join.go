package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// maxName is the greatest length of a node's host name, in bytes (RFC 1035 2.3.4 has
// 253 characters, Linux 64).
const maxName = 255

// Join lets a node in, or gives one that is in already, with the same key, its
// certificate again. cs is the connection that the request came over.
//
// It fails with raid.ErrUnauthorized for a token that is not known, has expired
// or is spent, or a proof that does not fit; raid.ErrForbidden for a node that was
// removed, and for a token of another; raid.ErrPrecondition for a node that has
// joined with another key; raid.ErrUpgrade; raid.ErrInvalid for a request that is
// malformed. The text is for the person at the node.
func (d *Registrar) Join(ctx context.Context, cs tls.ConnectionState, req raid.JoinRequest) (raid.Certificate, error) {
	if err := d.checkRequest(cs, req); err != nil {
		return raid.Certificate{}, err
	}
	t, err := d.prove(cs, req)
	if err != nil {
		return raid.Certificate{}, err
	}
	key, err := identity.ReadCSR(req.CSR)
	if err != nil {
		return raid.Certificate{}, fmt.Errorf("join: %w: %w", raid.ErrInvalid, err)
	}
	up, known := d.cfg.Counts(req.Node)
	live := d.cfg.Live(req.Node)
	wish := raid.Member{ID: req.Node, Name: req.Name, Key: raid.KeyPin(key.Pin())}
	entered := false
	err = d.change(ctx, func() error {
		entered, err = d.enter(ctx, t, wish, live)
		return err
	})
	if err != nil {
		return raid.Certificate{}, err
	}
	if entered {
		// What was connected as this node did not have the key that now counts.
		d.cfg.Cut(req.Node, fmt.Errorf("%w: node %s has joined with a new key", raid.ErrPeerGone, req.Node))
		d.cfg.Tell(raid.Event{Kind: raid.NodeJoined, Node: req.Node,
			Text: fmt.Sprintf("%s has joined the array from %s, with token %s", raid.Quoted(called(wish)), req.Remote, t.ID())})
		d.cfg.Log.Info("node joined", "node", req.Node, "name", req.Name, "token", t.ID(), "version", repeat(req.Version), "remote", req.Remote)
	}
	return d.welcome(key, req.Node, up, known)
}

// welcome makes the certificate of a node that is in, unless it was removed by now.
func (d *Registrar) welcome(key identity.NodeKey, id raid.NodeID, up, known int) (raid.Certificate, error) {
	c, err := d.certificate(key, id, up, known)
	if m, _ := d.member(id); m.Removed {
		return raid.Certificate{}, removedText(id)
	}
	return c, err
}

// checkRequest checks what needs no token.
func (d *Registrar) checkRequest(cs tls.ConnectionState, req raid.JoinRequest) error {
	if !cs.HandshakeComplete || cs.Version != tls.VersionTLS13 {
		return fmt.Errorf("join: %w: it needs TLS 1.3", raid.ErrForbidden)
	}
	switch {
	case req.Protocol < d.cfg.MinProtocol:
		return refuse(raid.ErrUpgrade, "raid-controller %s needs a newer raid-node; this is %s (it speaks protocol %d, %d is needed). Here run: sudo apt install --only-upgrade raid-node",
			d.cfg.Version, repeat(req.Version), req.Protocol, d.cfg.MinProtocol)
	case req.Protocol > d.cfg.MaxProtocol:
		return refuse(raid.ErrUpgrade, "This raid-node %s is too new for raid-controller %s (it speaks protocol %d, at most %d is known). On the controller: sudo apt install --only-upgrade raid-controller",
			repeat(req.Version), d.cfg.Version, req.Protocol, d.cfg.MaxProtocol)
	case len(req.CSR) > identity.MaxCSR:
		return fmt.Errorf("join: %w: the certificate request has %d bytes, at most %d are taken", raid.ErrInvalid, len(req.CSR), identity.MaxCSR)
	}
	if _, err := raid.DecodeID(string(req.Node)); err != nil {
		return fmt.Errorf("join: %w: %.40q is not a node's id", raid.ErrInvalid, req.Node)
	}
	if !validName(req.Name) {
		return fmt.Errorf("join: %w: the node's host name is longer than %d bytes or can't be shown; give it another one with hostnamectl", raid.ErrInvalid, maxName)
	}
	return nil
}

// enter records a member, unless it is one with this key already. The caller
// holds change.
func (d *Registrar) enter(ctx context.Context, t *token, wish raid.Member, live bool) (entered bool, err error) {
	if err := d.stillGood(t); err != nil {
		return false, err // it waited for others
	}
	old, _ := d.member(wish.ID)
	users, spent := d.users(t)
	switch {
	case old.Removed:
		return false, removedText(wish.ID)
	case t.old != "" && wish.ID == t.old:
		return false, refuse(raid.ErrForbidden, "This token is for the Pi that takes the place of node %s, and this is that node itself. Paste the line on the new one", t.old)
	case joined(old) && (wish.Key == old.Key || wish.Key == old.Next):
		return false, nil
	case joined(old) && live:
		return false, copyText(old)
	case joined(old) && t.node == "":
		return false, otherKeyText(old)
	case spent:
		return false, tokenSpentError(users)
	}
	write := d.cfg.Store.Join
	if t.node != "" {
		write = d.cfg.Store.Rekey
	}
	// Who hangs up now does not make the outcome unknown to us.
	m, err := write(context.WithoutCancel(ctx), wish, raid.TokenUse{Token: t.ID(), Uses: t.uses, Zone: t.zone, Replaces: t.old})
	if err != nil {
		return false, explain(err, wish.ID, users)
	}
	d.remember(m)
	d.use(t, called(wish))
	return true, nil
}

// explain gives the store's refusals the texts of ours: they come when it knows
// more than memory does.
func explain(err error, id raid.NodeID, users []string) error {
	switch {
	case errors.Is(err, raid.ErrUnauthorized) && len(users) > 0:
		return tokenSpentError(users)
	case errors.Is(err, raid.ErrForbidden):
		return removedText(id)
	case errors.Is(err, raid.ErrPrecondition):
		return otherKeyText(raid.Member{ID: id})
	}
	return fmt.Errorf("join: %w", err)
}

// certificate makes the answer. Counted are the nodes before this one.
func (d *Registrar) certificate(key identity.NodeKey, id raid.NodeID, up, known int) (raid.Certificate, error) {
	der, err := d.cfg.CA.IssueNode(key, id, d.cfg.Random)
	if err != nil {
		return raid.Certificate{}, err
	}
	return raid.Certificate{
		Array: d.cfg.CA.Array(), Node: id, DER: der, CA: d.cfg.CA.Certificate(),
		StorePort: d.cfg.Ports[0], ResponsePort: d.cfg.Ports[1], RequestPort: d.cfg.Ports[2],
		Up: up, Known: known,
	}, nil
}
