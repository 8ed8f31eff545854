package catalog

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/raidpi/raidpi/internal/raid"
)

// proofLabel separates what is proved here from all other uses of the key.
const proofLabel = "raidpi commit number 1\x00"

// proofs makes and checks the MACs of commit numbers.
type proofs struct {
	key  atomic.Pointer[[32]byte] // nil: none yet
	last atomic.Pointer[raid.Commit]
}

// ProveWith has commit numbers proved with key from now on, unless the catalog has a key
// already, which stays. It makes the key durable. On a disk that is too full for that
// it is used all the same, and has to be given again at the next start.
func (c *Catalog) ProveWith(ctx context.Context, key [32]byte) error {
	if c.proofs.key.Load() != nil {
		return nil
	}
	err := c.write(ctx, &op{name: "keep the key of commit numbers", rows: 1, frees: true, run: func(t *tx) error {
		_, err := t.exec("INSERT INTO proof (one, key) VALUES (1, ?)", key[:])
		return err
	}})
	if err != nil && !errors.Is(err, raid.ErrNoSpace) {
		return err
	}
	c.proofs.key.Store(&key)
	return nil
}

// loadProofKey reads the key.
func (c *Catalog) loadProofKey(w *conn) error {
	err := w.query(func(r []driver.Value) error {
		var key [32]byte
		if copy(key[:], blob(r[0])) != len(key) {
			return fmt.Errorf("%w: a key of %d bytes", raid.ErrCorrupt, len(blob(r[0])))
		}
		c.proofs.key.Store(&key)
		return nil
	}, "SELECT key FROM proof WHERE one = 1")
	if err != nil {
		return fmt.Errorf("read the key of commit numbers: %w", err)
	}
	return nil
}

// Prove is the proof that this array made a commit number: none for 0, and before
// ProveWith. No I/O.
func (c *Catalog) Prove(commit uint64) raid.CommitMAC {
	if last := c.proofs.last.Load(); last != nil && last.Number == commit {
		return last.MAC // nodes are told one number many times
	}
	key := c.proofs.key.Load()
	if commit == 0 || key == nil {
		return raid.CommitMAC{}
	}
	proved := raid.Commit{Number: commit, MAC: proofOf(key, commit)}
	c.proofs.last.Store(&proved)
	return proved.MAC
}

// Genuine reports whether a controller with this array's key made a commit number, be
// it in this catalog's past or not. No I/O.
func (c *Catalog) Genuine(commit raid.Commit) bool {
	key := c.proofs.key.Load()
	if key == nil || !commit.HasProof() {
		return false
	}
	want := proofOf(key, commit.Number)
	return hmac.Equal(want[:], commit.MAC[:])
}

func proofOf(key *[32]byte, commit uint64) raid.CommitMAC {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(proofLabel))
	h.Write(binary.BigEndian.AppendUint64(nil, commit))
	return raid.CommitMACOf(h.Sum(nil)[:len(raid.CommitMAC{})])
}
