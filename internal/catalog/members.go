package catalog

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Members are all nodes that ever joined, and all that were removed, joined or
// not, in the order in which they came. No I/O.
func (c *Catalog) Members(context.Context) ([]raid.Member, error) {
	if err := c.writer.check(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []raid.Member
	for _, n := range c.state.nodes {
		if n.joined() || n.removed != staying {
			out = append(out, n.member(n.ID))
		}
	}
	return out, nil
}

// Join lets a node in with a key of its own, durably, and spends a use of the join
// token in the same transaction. A node that comes again with the key that it has,
// or with its next one, is answered as before and spends nothing, also when the token is used
// up. Its answer may have got lost.
//
// It fails with raid.ErrUnauthorized when the token has no use left, which tells
// who used it; with raid.ErrPrecondition when the node has joined with another
// key; and with raid.ErrForbidden when it was removed.
func (c *Catalog) Join(ctx context.Context, m raid.Member, use raid.TokenUse) (raid.Member, error) {
	return c.join(ctx, m, use, false)
}

// Rekey is Join with a token that was made for that very node. One
// that has joined gets the new key in place of the one that it has lost, which is refused from
// then on.
func (c *Catalog) Rekey(ctx context.Context, m raid.Member, use raid.TokenUse) (raid.Member, error) {
	return c.join(ctx, m, use, true)
}

func (c *Catalog) join(ctx context.Context, m raid.Member, use raid.TokenUse, rekey bool) (joined raid.Member, err error) {
	name := "let node " + string(m.ID) + " join"
	if !m.ID.IsNative() || m.Key == (raid.KeyPin{}) || use.Token == "" {
		return joined, fmt.Errorf("%s: %w: it must have an id that lasts, a key and a token", name, raid.ErrInvalid)
	}
	err = c.write(ctx, &op{name: name, rows: 3, run: func(t *tx) (err error) {
		joined, err = t.join(m, use, rekey)
		return err
	}})
	if err != nil {
		return raid.Member{}, err
	}
	return joined, nil
}

func (t *tx) join(m raid.Member, use raid.TokenUse, rekey bool) (raid.Member, error) {
	i := t.identity(t.findNode(m.ID))
	switch {
	case i.removed != staying:
		return m, errRemoved()
	case i.joined() && (m.Key == i.pin || m.Key == i.next):
		return i.member(m.ID), nil
	case i.joined() && !rekey:
		return m, fmt.Errorf("%w: it has joined with another key. If its identity was lost, make a token for it alone, with "+
			"sudo raidctl token create --node %s; if its card is a copy of another's, run sudo raid-node reset-identity on it, then join it again",
			raid.ErrPrecondition, m.ID)
	}
	key, err := t.nodeKey(m.ID)
	if err != nil {
		return m, err
	}
	if err := t.spend(key, m, use); err != nil {
		return m, err
	}
	if !i.named {
		i.name = m.Name
	}
	i.token, i.pin, i.next, i.issued = use.Token, m.Key, raid.KeyPin{}, t.now()
	if err := t.setIdentity(key, i); err != nil {
		return m, err
	}
	return i.member(m.ID), t.welcome(key, use)
}

// welcome puts a node that joins into its token's zone, and in the place of the node that
// it replaces. Who joins with a token was let in by a person, with the disk that it shows
// then.
func (t *tx) welcome(key int64, use raid.TokenUse) error {
	before := t.record(key)
	after := before
	after.Disk = 0
	zone, err := t.succeed(key, use.Replaces)
	if err != nil {
		return err
	}
	if zone = cmp.Or(use.Zone, zone); zone != "" {
		after.Zone = zone
	}
	if after == before {
		return nil
	}
	return t.setRecord(key, after)
}

// succeed makes a node the successor of another one, which drains from then on, and
// returns the zone of that one. Where nobody's place is free it does nothing.
func (t *tx) succeed(key int64, replaces raid.NodeID) (zone string, err error) {
	old := t.findNode(replaces)
	if old == 0 || old == key || t.identity(old).removed != staying {
		return "", nil
	}
	r := t.record(old)
	if !r.Replaced || r.Successor != "" {
		return "", nil
	}
	r.Draining, r.Drained, r.Successor = true, false, t.nodeID(key)
	return r.Zone, t.setRecord(old, r)
}

func errRemoved() error {
	return fmt.Errorf("%w: it was removed from the array and never gets in again under this id; "+
		"to use its disk all the same, run sudo raid-node reset-identity on it and join it with a new token", raid.ErrForbidden)
}

// spend takes a use of a token for a node.
func (t *tx) spend(key int64, m raid.Member, use raid.TokenUse) error {
	by, err := tokenUsers(t.conn, use.Token)
	if err != nil {
		return err
	}
	if len(by) >= use.Uses {
		return fmt.Errorf("%w: the join token has no uses left (%s). On the controller: sudo raidctl token create", raid.ErrUnauthorized, usedBy(by))
	}
	name := m.Name
	if name == "" {
		name = string(m.ID)
	}
	_, err = t.exec("INSERT INTO join_use (token, use, node, name) VALUES (?, ?, ?, ?)", use.Token, int64(len(by)+1), key, name)
	return err
}

// usersShown bounds the users of a token that an error names.
const usersShown = 10

func usedBy(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "it allows none"
	case n > usersShown:
		return fmt.Sprintf("used by %s and %d more", strings.Join(names[:usersShown], ", "), n-usersShown)
	}
	return "used by " + strings.Join(names, ", ")
}

// TokenUsers are the host names of the nodes that a join token let in, the first one first. A
// node that used it twice is there twice. An unknown token has none.
func (c *Catalog) TokenUsers(ctx context.Context, token string) (names []string, err error) {
	err = c.read(ctx, "look up who used a join token", func(r *conn) error {
		names, err = tokenUsers(r, token)
		return err
	})
	return names, err
}

func tokenUsers(r *conn, token string) (names []string, err error) {
	err = r.query(func(row []driver.Value) error {
		names = append(names, text(row[0]))
		return nil
	}, "SELECT name FROM join_use WHERE token = ? ORDER BY use", token)
	return names, err
}

// Certify notes, durably, that a member has got a certificate for its next key. It
// is known by both keys until Promote. It fails with raid.ErrNotFound when it is
// no member, and with raid.ErrForbidden when it was removed. A certificate for the
// key that it has changes nothing.
func (c *Catalog) Certify(ctx context.Context, id raid.NodeID, next raid.KeyPin) (raid.Member, error) {
	if next == (raid.KeyPin{}) {
		return raid.Member{}, fmt.Errorf("certify node %s: %w: no key", id, raid.ErrInvalid)
	}
	return c.changeMember(ctx, "certify node "+string(id), id, func(t *tx, i *identity) error {
		if next != i.pin {
			i.next, i.issued = next, t.now()
		}
		return nil
	})
}

// Promote notes, durably, that a member has shown its next key, so that the one
// before is refused. It writes only when that changes something, and fails with
// raid.ErrPrecondition when the key is neither, with raid.ErrNotFound when it is no
// member, and with raid.ErrForbidden when it was removed.
func (c *Catalog) Promote(ctx context.Context, id raid.NodeID, key raid.KeyPin) error {
	if n, ok := c.known(id); ok && n.removed == staying && n.joined() && n.pin == key {
		return c.writer.check()
	}
	_, err := c.changeMember(ctx, "note the new key of node "+string(id), id, func(_ *tx, i *identity) error {
		switch key {
		case i.pin:
		case i.next:
			i.pin, i.next = i.next, raid.KeyPin{}
		default:
			return fmt.Errorf("%w: it has no certificate for this key, or a later one", raid.ErrPrecondition)
		}
		return nil
	})
	return err
}

// changeMember changes the identity of a node that has joined and is not removed.
func (c *Catalog) changeMember(ctx context.Context, name string, id raid.NodeID, change func(*tx, *identity) error) (m raid.Member, err error) {
	err = c.write(ctx, &op{name: name, rows: 1, run: func(t *tx) error {
		key := t.findNode(id)
		before := t.identity(key)
		switch {
		case before.removed != staying:
			return errRemoved()
		case !before.joined():
			return fmt.Errorf("%w: it has not joined the array", raid.ErrNotFound)
		}
		after := before
		if err := change(t, &after); err != nil {
			return err
		}
		m = after.member(id)
		if after == before {
			return nil
		}
		return t.setIdentity(key, after)
	}})
	if err != nil {
		return raid.Member{}, err
	}
	return m, nil
}

// KeyAge returns the time since a member's latest certificate was made, by a time that
// never goes back; zero for a member without one. Without a right clock it counts
// only while the controller runs. No I/O.
func (c *Catalog) KeyAge(m raid.Member) time.Duration { return c.wall.since(m.Issued) }

// known returns what the catalog has in memory of a node.
func (c *Catalog) known(id raid.NodeID) (n node, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k := c.state.byID[id]
	if k == 0 {
		return n, false
	}
	return c.state.nodes[k-1], true
}
