package catalog

import (
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// The values of node.removed.
const (
	staying = 0
	leaving = 1 // removed for good; chunks on it may still count as good
	left    = 2 // removed, and all its chunks are marked bad
)

// identity is the part of a row of node that tells who the node is: by what key it is known,
// and whether it may come back.
type identity struct {
	name      string
	named     bool        // by a person
	pin, next raid.KeyPin // zero: none
	token     string      // that let it in last
	issued    string
	removed   int64
}

// joined reports whether the node ever got a certificate.
func (i identity) joined() bool { return i.pin != raid.KeyPin{} }

func (i identity) member(id raid.NodeID) raid.Member {
	return raid.Member{ID: id, Name: i.name, Key: i.pin, Next: i.next, Issued: i.issued, Named: i.named, Removed: i.removed != staying}
}

// identityColumns are read by scanIdentity.
const identityColumns = "name, pin, next_pin, token, issued, removed, named"

func scanIdentity(r []driver.Value) (i identity, err error) {
	i.name, i.token, i.issued, i.removed = text(r[0]), text(r[3]), text(r[4]), integer(r[5])
	i.named = integer(r[6]) != 0
	for _, p := range []struct {
		to   *raid.KeyPin
		from []byte
	}{{&i.pin, blob(r[1])}, {&i.next, blob(r[2])}} {
		if n := copy(p.to[:], p.from); n != len(p.from) || n != 0 && n != len(p.to) {
			return i, fmt.Errorf("%w: a pin of %d bytes", raid.ErrCorrupt, len(p.from))
		}
	}
	return i, nil
}

// pinValue is a pin as its column holds it.
func pinValue(p raid.KeyPin) []byte {
	if p == (raid.KeyPin{}) {
		return []byte{}
	}
	return p[:]
}

// identityChange is a node's identity after a transaction.
type identityChange struct {
	key int64
	to  identity
}

// identity is that of the node with a key as this transaction has left it; key 0
// has none.
func (t *tx) identity(key int64) identity {
	for n := len(t.identities) - 1; n >= 0; n-- {
		if t.identities[n].key == key {
			return t.identities[n].to
		}
	}
	if key < 1 || key > int64(len(t.base.nodes)) {
		return identity{}
	}
	return t.base.nodes[key-1].identity
}

func (t *tx) setIdentity(key int64, to identity) error {
	_, err := t.exec("UPDATE node SET name = ?, pin = ?, next_pin = ?, token = ?, issued = ?, removed = ?, named = ? WHERE key = ?",
		to.name, pinValue(to.pin), pinValue(to.next), to.token, to.issued, to.removed, truth(to.named), key)
	if err == nil {
		t.identities = append(t.identities, identityChange{key, to})
	}
	return err
}

// gone reports whether a node was removed.
func (t *tx) gone(id raid.NodeID) bool { return t.identity(t.findNode(id)).removed != staying }

// markGone marks the copies on nodes bad that were removed while the upload was under way. The search
// for what they held may have passed it.
func (t *tx) markGone(parts []raid.Part) {
	for i := range parts {
		for j := range parts[i].Copies {
			c := &parts[i].Copies[j]
			c.Bad = c.Bad || t.gone(c.Node)
		}
	}
}
