package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// keyLife is the time for which an idempotency key is honoured.
const keyLife = 24 * time.Hour

// age is the time since this start in seconds, by the monotonic clock.
func (c *Catalog) age() int64 { return int64(time.Since(c.started) / time.Second) }

// keyExpired says whether a key of a run, kept at a second of that run, is over.
// Keys of earlier runs are timed from the start of this one.
func (c *Catalog) keyExpired(run, second int64) bool {
	if run != int64(c.run) {
		second = 0
	}
	return c.age()-second >= int64(keyLife/time.Second)
}

const findKey = "SELECT file, fingerprint, run, second FROM idempotency WHERE key = ?"

// FindKey returns the file that was stored with an idempotency key within the
// last 24 hours, and the fingerprint of that request. The file may have been
// deleted since.
func (c *Catalog) FindKey(ctx context.Context, key string) (id raid.FileID, fingerprint [32]byte, ok bool, err error) {
	err = c.read(ctx, "look up idempotency key", func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			if ok = !c.keyExpired(integer(row[2]), integer(row[3])); ok {
				id = raid.FileID(integer(row[0]))
				copy(fingerprint[:], blob(row[1]))
			}
			return nil
		}, findKey, key)
	})
	return id, fingerprint, ok, err
}

// takeKey records a key with its file, or fails with raid.ErrPrecondition when
// another file has it. It prunes expired keys, faster than they are added.
func (c *Catalog) takeKey(t *tx, k *raid.IdempotencyKey, id int64) error {
	var taken bool
	var by int64
	err := t.conn.query(func(row []driver.Value) error {
		by, taken = integer(row[0]), !c.keyExpired(integer(row[2]), integer(row[3]))
		return nil
	}, findKey, k.Key)
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%w: file %d was stored with the same idempotency key", raid.ErrPrecondition, by)
	}
	if err := c.pruneKeys(t); err != nil {
		return err
	}
	_, err = t.exec("INSERT OR REPLACE INTO idempotency (key, fingerprint, file, run, second) VALUES (?, ?, ?, ?, ?)",
		k.Key, k.Fingerprint[:], id, int64(c.run), c.age())
	return err
}

// pruneKeys drops a few of the oldest keys that are over.
func (c *Catalog) pruneKeys(t *tx) error {
	if over := c.age() - int64(keyLife/time.Second); over >= 0 {
		return c.pruneBefore(t, over)
	}
	return nil
}

func (c *Catalog) pruneBefore(t *tx, second int64) error {
	_, err := t.exec(`DELETE FROM idempotency WHERE key IN
		(SELECT key FROM idempotency WHERE (run, second) <= (?, ?) ORDER BY run, second LIMIT 8)`, int64(c.run), second)
	return err
}
