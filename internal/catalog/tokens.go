package catalog

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// maxTokens bounds the REST tokens that are kept, with those that are over.
	maxTokens = 1000
	// maxTokenLife is the longest time after which a token may expire.
	maxTokenLife = 3650 * 24 * time.Hour
)

const tokenColumns = "SELECT id, name, scope, sha256, created, expires, revoked FROM access_token"

func scanToken(row []driver.Value) raid.AccessToken {
	t := raid.AccessToken{
		ID: text(row[0]), Name: text(row[1]), Scope: raid.Scope(integer(row[2])),
		Created: text(row[4]), Expires: text(row[5]), Revoked: integer(row[6]) != 0,
	}
	copy(t.SHA256[:], blob(row[3]))
	return t
}

// over says whether a token has expired at a time.
func over(t raid.AccessToken, now string) bool { return t.Expires != "" && t.Expires <= now }

// loadTokens reads all tokens into memory.
func (c *Catalog) loadTokens(w *conn) error {
	c.state.tokens = make(map[string]raid.AccessToken)
	err := w.query(func(row []driver.Value) error {
		t := scanToken(row)
		c.state.tokens[t.ID] = t
		return nil
	}, tokenColumns)
	if err != nil {
		return fmt.Errorf("read the tokens: %w", err)
	}
	return nil
}

// CreateToken keeps a new REST token, which begins now and ends after life; 0:
// never. Its id and the SHA-256 of its secret come from [raid.NewAccessToken].
// When there are 1000 tokens, the oldest that is over makes room. It fails with
// raid.ErrPrecondition when all of them are in use, or the id is taken.
func (c *Catalog) CreateToken(ctx context.Context, k raid.AccessToken, life time.Duration) (raid.AccessToken, error) {
	const name = "create a token"
	if err := raid.CheckAccessName(k.Name); err != nil {
		return raid.AccessToken{}, fmt.Errorf("%s: %w", name, err)
	}
	if life != 0 && (life < time.Second || life > maxTokenLife) {
		return raid.AccessToken{}, fmt.Errorf("%s: %w: it must last from a second to %d days", name, raid.ErrInvalid, maxTokenLife/(24*time.Hour))
	}
	err := c.write(ctx, &op{name: name, rows: 2, run: func(t *tx) error {
		now := c.wall.now()
		k.Created, k.Expires = now.Format(time.DateTime), ""
		if life != 0 {
			k.Expires = now.Add(life).Format(time.DateTime)
		}
		if err := c.makeRoom(t, k.Created); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO access_token (id, name, scope, sha256, created, expires, revoked) VALUES (?, ?, ?, ?, ?, ?, 0)",
			k.ID, k.Name, int64(k.Scope), k.SHA256[:], k.Created, k.Expires)
		made := k
		t.after = append(t.after, func() { c.setToken(made) })
		return err
	}})
	return k, err
}

// makeRoom drops the oldest token that is over when there are too many.
func (c *Catalog) makeRoom(t *tx, now string) error {
	count := 0
	var dead []raid.AccessToken
	err := t.conn.query(func(row []driver.Value) error {
		count++
		if k := scanToken(row); k.Revoked || over(k, now) {
			dead = append(dead, k)
		}
		return nil
	}, tokenColumns)
	if err != nil || count < maxTokens {
		return err
	}
	if len(dead) == 0 {
		return fmt.Errorf("%w: there are %d tokens already; revoke some that nobody needs", raid.ErrPrecondition, count)
	}
	oldest := slices.MinFunc(dead, byAge).ID
	_, err = t.exec("DELETE FROM access_token WHERE id = ?", oldest)
	t.after = append(t.after, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.state.tokens, oldest)
	})
	return err
}

func (c *Catalog) setToken(k raid.AccessToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.tokens[k.ID] = k
}

func byAge(a, b raid.AccessToken) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID))
}

// RevokeToken takes a REST token back for good; again does nothing. An id that
// is none is raid.ErrNotFound. No request is served with the token after it has
// returned.
func (c *Catalog) RevokeToken(ctx context.Context, id string) error {
	return c.write(ctx, &op{name: "revoke a token", rows: 1, frees: true, run: func(t *tx) error {
		var found bool
		var k raid.AccessToken
		err := t.conn.query(func(row []driver.Value) error {
			k, found = scanToken(row), true
			return nil
		}, tokenColumns+" WHERE id = ?", id)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: there is no token with this id", raid.ErrNotFound)
		}
		if k.Revoked {
			return nil
		}
		_, err = t.exec("UPDATE access_token SET revoked = 1 WHERE id = ?", id)
		k.Revoked = true
		t.after = append(t.after, func() { c.setToken(k) })
		return err
	}})
}

// Token looks a REST token up, with whether it has expired by now. No I/O.
func (c *Catalog) Token(id string) (k raid.AccessToken, ok bool) {
	c.mu.RLock()
	k, ok = c.state.tokens[id]
	c.mu.RUnlock()
	if ok {
		k.Expired = over(k, c.wall.text())
	}
	return k, ok
}

// Tokens are all REST tokens, the oldest first, with whether they have expired by
// now. No I/O.
func (c *Catalog) Tokens() []raid.AccessToken {
	now := c.wall.text()
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]raid.AccessToken, 0, len(c.state.tokens))
	for _, k := range c.state.tokens {
		k.Expired = over(k, now)
		all = append(all, k)
	}
	slices.SortFunc(all, byAge)
	return all
}

// NoteExpired makes durable that tokens have expired, if any has since the last
// write of whatever kind. So it writes once for each token that ends, and it
// should be called every minute or so. What no write has noted can live again
// after a start with a clock that has gone back.
func (c *Catalog) NoteExpired(ctx context.Context) error {
	if now := c.wall.text(); !c.unnoted(now) {
		return nil
	}
	return c.write(ctx, &op{name: "note that a token has expired", rows: 1, run: func(t *tx) error {
		t.changed = true // the time is written with every transaction
		return nil
	}})
}

func (c *Catalog) unnoted(now string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, k := range c.state.tokens {
		if !k.Revoked && over(k, now) && !over(k, c.state.meta.latest) {
			return true
		}
	}
	return false
}
