package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/allowance"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// Renew gives a member a certificate for a new key. cs is its connection with its
// present one, which is good until the new one is seen. It fails with
// raid.ErrUnauthorized, raid.ErrForbidden and raid.ErrInvalid.
func (d *Registrar) Renew(ctx context.Context, cs tls.ConnectionState, csr []byte) (raid.Certificate, error) {
	id, err := d.whoever(cs)
	if err != nil {
		return raid.Certificate{}, fmt.Errorf("renew a key: %w", err)
	}
	key, err := identity.ReadCSR(csr)
	if err != nil {
		return raid.Certificate{}, fmt.Errorf("renew the key of node %s: %w: %w", id, raid.ErrInvalid, err)
	}
	up, known := d.cfg.Counts(id)
	err = d.change(ctx, func() error {
		return d.renew(context.WithoutCancel(ctx), id, identity.KeyOf(cs), raid.KeyPin(key.Pin()))
	})
	if err != nil {
		return raid.Certificate{}, fmt.Errorf("renew the key of node %s: %w", id, err)
	}
	return d.welcome(key, id, up, known)
}

// whoever is the member at the other end of a connection.
func (d *Registrar) whoever(cs tls.ConnectionState) (raid.NodeID, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", fmt.Errorf("%w: it needs the certificate of a node", raid.ErrUnauthorized)
	}
	id, err := d.Identify(cs)
	switch {
	case errors.Is(err, identity.ErrRemoved):
		return "", fmt.Errorf("%w: %w", raid.ErrGone, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", raid.ErrForbidden, err)
	}
	return id, nil
}

// renewRate bounds how often a node may draw a new key, of which each costs the catalog two
// writes. A sound node does every few months; asking again with the same key is free.
var renewRate = allowance.Rate{Burst: 5, Every: 10 * time.Minute}

// renew certifies a next key. The caller holds change.
func (d *Registrar) renew(ctx context.Context, id raid.NodeID, has identity.Pin, next raid.KeyPin) error {
	// The store must have the present key as its key, or it would forget it now.
	if err := d.write(ctx, id); err != nil {
		return err
	}
	before, err := d.keepPrevious(id, raid.KeyPin(has), next)
	if err != nil || next == before.Key || next == before.Next {
		return err
	}
	var m raid.Member
	if _, ok := d.renewals.Take(string(id)); !ok {
		err = fmt.Errorf("%w: it got %d new keys in short time, and gets the next after some minutes", raid.ErrBusy, renewRate.Burst)
	} else {
		m, err = d.cfg.Store.Certify(ctx, id, next)
	}
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if m := d.members[id]; !m.Removed {
			d.members[id] = before
		}
		return err
	}
	d.remember(m)
	d.cfg.Log.Info("node gets a new key", "node", id, "name", m.Name)
	return nil
}

// keepPrevious takes back a next key that was never seen and is now to be replaced,
// so that it can't become the key meanwhile.
func (d *Registrar) keepPrevious(id raid.NodeID, has, next raid.KeyPin) (before raid.Member, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(id, has); err != nil {
		return raid.Member{}, fmt.Errorf("%w: %w", raid.ErrForbidden, err)
	}
	before = d.members[id]
	if next != before.Key && next != before.Next {
		m := before
		m.Next = raid.KeyPin{}
		d.members[id] = m
	}
	return before, nil
}

const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// Run writes down which next keys were seen, until ctx ends. It fails with
// raid.ErrCatalogBroken, when the process must end.
func (d *Registrar) Run(ctx context.Context) error {
	pause := firstPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		}
		for {
			err := d.writeSeen(ctx)
			if err == nil || ctx.Err() != nil || errors.Is(err, raid.ErrShutdown) {
				break
			}
			if errors.Is(err, raid.ErrCatalogBroken) {
				return err
			}
			d.cfg.Log.Warn("a node's new key can't be written down yet", "err", err, "again_in", pause)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
		}
		pause = firstPause
	}
}

// writeSeen writes down all that waits.
func (d *Registrar) writeSeen(ctx context.Context) error {
	d.mu.Lock()
	ids := slices.Sorted(maps.Keys(d.seen))
	d.mu.Unlock()
	var failed error
	for _, id := range ids {
		if err := d.change(ctx, func() error { return d.write(ctx, id) }); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// write makes the store know a key that was seen. The caller holds change.
func (d *Registrar) write(ctx context.Context, id raid.NodeID) error {
	d.mu.Lock()
	key, waits := d.seen[id]
	d.mu.Unlock()
	if !waits {
		return nil
	}
	err := d.cfg.Store.Promote(ctx, id, key)
	if errors.Is(err, raid.ErrPrecondition) || errors.Is(err, raid.ErrNotFound) || errors.Is(err, raid.ErrForbidden) {
		// Trying again would change nothing.
		d.cfg.Log.Error("the catalog does not know the new key of a node, which will be refused after the next start of raid-controller: let it join again then", "node", id, "err", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("write down the new key of node %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[id] == key {
		delete(d.seen, id)
	}
	return nil
}
