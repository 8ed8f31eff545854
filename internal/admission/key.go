package admission

import (
	"crypto/tls"
	"fmt"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// CheckKey fails for a node that may not come with a key: identity.ErrRemoved,
// identity.ErrForeign. It is for [identity.CA.ServerTLS], which asks before the
// node has proved that it has the key, so nothing is remembered here; see
// Identify. It does not wait.
func (d *Registrar) CheckKey(id raid.NodeID, key identity.Pin) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.check(id, raid.KeyPin(key))
}

// check is CheckKey. mu is held.
func (d *Registrar) check(id raid.NodeID, key raid.KeyPin) error {
	m, known := d.members[id]
	switch {
	case m.Removed:
		return fmt.Errorf("%w: %s; to let that machine in again, run sudo raid-node reset-identity there, then join", identity.ErrRemoved, id)
	case !known || !joined(m):
		return fmt.Errorf("%w catalog: node %s has a certificate and is no member here; was an older catalog put back? Let it in: sudo raidctl token create --node %s",
			identity.ErrForeign, id, id)
	case key == raid.KeyPin{} || key != m.Key && key != m.Next:
		return fmt.Errorf("%w key: node %s came with another one than it has here. If its card or this catalog was put back from a backup: sudo raidctl token create --node %s, and join there with that. If it is a copy of the node's card: sudo raid-node reset-identity there, then join",
			identity.ErrForeign, id, id)
	}
	return nil
}

// Identify names the node at the other end of a connection whose handshake is
// over, and fails when that may not come any more, as [identity.CA.PeerNode] and
// CheckKey do. When it sees the node's next key, the one before is refused from
// then on. It may be asked again and again, and does not wait.
func (d *Registrar) Identify(cs tls.ConnectionState) (raid.NodeID, error) {
	id, err := d.cfg.CA.PeerNode(cs)
	if err != nil {
		return "", err
	}
	key := raid.KeyPin(identity.KeyOf(cs))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(id, key); err != nil {
		return "", fmt.Errorf("name the peer: %w", err)
	}
	switch m := d.members[id]; {
	case key == m.Next:
		m.Key, m.Next = m.Next, raid.KeyPin{}
		d.members[id], d.seen[id] = m, key
		delete(d.lost, id)
		select {
		case d.wake <- struct{}{}:
		default: // Run knows already that something waits
		}
	case m.Next != raid.KeyPin{}:
		// The next key's certificate may not have arrived.
		d.lost[id] = true
	}
	return id, nil
}

// MayBePlain fails for a native node that may not come without TLS, because it
// has joined or was removed: identity.ErrRemoved, raid.ErrForbidden. It does not
// wait.
func (d *Registrar) MayBePlain(id raid.NodeID) error {
	switch m, _ := d.member(id); {
	case m.Removed:
		return fmt.Errorf("%w: %s; to let that machine in again, run sudo raid-node reset-identity there, then join", identity.ErrRemoved, id)
	case joined(m):
		return fmt.Errorf("%w: node %s has joined, and comes inside TLS alone", raid.ErrForbidden, id)
	}
	return nil
}

// RotateKey has a node asked for a new key. It fails with raid.ErrNotFound when
// it is no member.
func (d *Registrar) RotateKey(id raid.NodeID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !joined(d.members[id]) {
		return fmt.Errorf("rotate a node's key: %w: no node %.40q has joined", raid.ErrNotFound, id)
	}
	d.asked[id] = true
	return nil
}

// RenewDue reports whether a node should ask for a certificate for a new key. It should when
// somebody wants it to, its key is old, or it seems to have missed the answer when
// it did. It does not wait.
func (d *Registrar) RenewDue(id raid.NodeID) bool {
	d.mu.Lock()
	m, asked, lost := d.members[id], d.asked[id], d.lost[id]
	d.mu.Unlock()
	switch {
	case !joined(m):
		return false
	case m.Next != raid.KeyPin{}:
		// It has a new key, or will have it in a moment, and takes it up with its
		// next connection. Asking on would make it draw one after the other.
		return lost
	}
	return asked || d.cfg.Store.KeyAge(m) > d.cfg.KeyLife
}
