package catalog

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func drawToken(t testing.TB, name string) raid.AccessToken {
	t.Helper()
	id, _, sum, err := raid.NewAccessToken(rand.Reader)
	must(t, err)
	return raid.AccessToken{ID: id, Name: name, Scope: raid.ScopeWrite, SHA256: sum}
}

func newToken(t testing.TB, c *Catalog, name string, life time.Duration) raid.AccessToken {
	t.Helper()
	k, err := c.CreateToken(bg, drawToken(t, name), life)
	must(t, err)
	return k
}

// openAt opens a catalog on a machine with a clock of its own.
func openAt(t *testing.T, path string, clock *atomic.Pointer[time.Time]) *Catalog {
	t.Helper()
	cfg := config(path)
	cfg.Wall = func() time.Time { return *clock.Load() }
	return openWith(t, cfg, options{})
}

func date(s string) *time.Time {
	t, err := time.Parse(time.DateTime, s)
	if err != nil {
		panic(err)
	}
	return &t
}

func TestTokensLastOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	a, b := newToken(t, c, "Omas Laptop", 0), newToken(t, c, "b", time.Hour)
	must(t, c.RevokeToken(bg, b.ID))
	must(t, c.RevokeToken(bg, b.ID))
	wants(t, c.RevokeToken(bg, "nobody00"), raid.ErrNotFound)
	_, err := c.CreateToken(bg, a, 0)
	wants(t, err, raid.ErrPrecondition)
	b.Revoked = true
	check := func() {
		t.Helper()
		for _, want := range []raid.AccessToken{a, b} {
			if got, ok := c.Token(want.ID); !ok || got != want {
				t.Errorf("got %+v, %v, want %+v", got, ok, want)
			}
		}
		if _, ok := c.Token("nobody00"); ok || len(c.Tokens()) != 2 {
			t.Errorf("tokens %+v", c.Tokens())
		}
	}
	check()
	must(t, c.Close())
	c = openTest(t, path)
	check()
}

func TestTokensOfWrongKindsAreRefused(t *testing.T) {
	c := openTest(t, "")
	for _, k := range []struct {
		name string
		life time.Duration
	}{{"", 0}, {"a\nb", 0}, {strings.Repeat("x", 101), 0}, {"x", -1}, {"x", time.Millisecond}, {"x", maxTokenLife + 1}} {
		_, err := c.CreateToken(bg, drawToken(t, k.name), k.life)
		wants(t, err, raid.ErrInvalid)
	}
	bad := drawToken(t, "x")
	bad.Scope = raid.ScopeNone
	_, err := c.CreateToken(bg, bad, 0)
	wants(t, err, raid.ErrPrecondition)
	if len(c.Tokens()) != 0 {
		t.Errorf("tokens %+v", c.Tokens())
	}
}

// The clock is set back to 1970, as on a Pi that was unplugged.
func TestExpiredTokenStaysExpiredInAnyYear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		var clock atomic.Pointer[time.Time]
		clock.Store(date("2026-01-02 03:04:05"))
		c := openAt(t, path, &clock)
		expired := func(k raid.AccessToken) bool {
			t.Helper()
			got, ok := c.Token(k.ID)
			if !ok {
				t.Fatal("the token is gone")
			}
			return got.Expired
		}
		k := newToken(t, c, "an hour", time.Hour)
		if k.Created != "2026-01-02 03:04:05" || k.Expires != "2026-01-02 04:04:05" || expired(k) {
			t.Errorf("%+v", k)
		}
		clock.Store(date("1970-01-01 00:00:00")) // while it runs, time goes on all the same
		time.Sleep(59 * time.Minute)
		if expired(k) {
			t.Error("expired too early")
		}
		time.Sleep(time.Minute)
		if !expired(k) {
			t.Error("a clock that went back keeps the token")
		}
		before := c.Commit()
		for range 3 {
			must(t, c.NoteExpired(bg))
		}
		if n := c.Commit() - before; n != 1 {
			t.Errorf("the end of one token was written %d times", n)
		}
		must(t, c.Close())

		clock.Store(date("1970-01-01 00:00:07"))
		c = openAt(t, path, &clock)
		if !expired(k) || !c.Tokens()[0].Expired {
			t.Error("the token lives again after a start in 1970")
		}
		// A new one lasts as long as it should, and no longer.
		k = newToken(t, c, "another hour", time.Hour)
		time.Sleep(30 * time.Minute)
		store(t, c, 1) // whatever is written notes the time
		must(t, c.Close())
		c = openAt(t, path, &clock)
		time.Sleep(29 * time.Minute)
		if expired(k) {
			t.Error("expired too early")
		}
		time.Sleep(2 * time.Minute)
		if !expired(k) {
			t.Error("time begins anew with each start")
		}
		// The clock is right again.
		clock.Store(date("2026-05-01 00:00:00"))
		if k = newToken(t, c, "x", 0); k.Created != "2026-05-01 00:00:00" || k.Expires != "" || expired(k) {
			t.Errorf("%+v", k)
		}
		clock.Store(date("2099-01-01 00:00:00"))
		if expired(k) {
			t.Error("a token without an end has ended")
		}
		for _, absurd := range []time.Time{time.Unix(1<<40, 0), {}} {
			clock.Store(&absurd)
			if k = newToken(t, c, "x", time.Hour); k.Created[:4] != "2099" || expired(k) {
				t.Errorf("with the clock at %v: %+v", absurd, k)
			}
		}
	})
}

func TestIdleCatalogWithTokensWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		c := openTest(t, path)
		newToken(t, c, "a", 0)
		newToken(t, c, "b", 48*time.Hour)
		before := c.Commit()
		for range 47 * 60 {
			time.Sleep(time.Minute)
			must(t, c.NoteExpired(bg))
		}
		if c.Commit() != before {
			t.Error("it was written to")
		}
	})
}

func TestTokensAreBoundedAndTheOldestDeadOneMakesRoom(t *testing.T) {
	c := openTest(t, "")
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(tx *tx) error {
		for i := range maxTokens - 2 {
			k := drawToken(t, fmt.Sprint(i))
			if _, err := tx.exec("INSERT INTO access_token (id, name, scope, sha256, created, expires, revoked) VALUES (?, ?, 1, ?, '2020', '', 0)",
				k.ID, k.Name, k.SHA256[:]); err != nil {
				return err
			}
		}
		return nil
	}}))
	a, b := newToken(t, c, "a", 0), newToken(t, c, "b", 0)
	_, err := c.CreateToken(bg, drawToken(t, "c"), 0)
	wants(t, err, raid.ErrPrecondition)
	must(t, c.RevokeToken(bg, b.ID))
	newToken(t, c, "c", 0)
	if _, ok := c.Token(b.ID); ok {
		t.Error("a revoked token is still there")
	}
	if _, ok := c.Token(a.ID); !ok {
		t.Error("a live one is gone")
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM access_token"); n != maxTokens {
		t.Errorf("%d tokens", n)
	}
}

func TestTokensOfManyCallersAtOnce(t *testing.T) {
	c := openTest(t, "")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			k := newToken(t, c, "x", time.Hour)
			if got, ok := c.Token(k.ID); !ok || got != k {
				t.Errorf("%+v is not there at once", k)
			}
			c.Tokens()
			must(t, c.NoteExpired(bg))
			must(t, c.RevokeToken(bg, k.ID))
			if got, _ := c.Token(k.ID); !got.Revoked {
				t.Error("a revoked token works")
			}
		})
	}
	wg.Wait()
}

func TestCatalogWithATimeThatIsNoneIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	must(t, idleWriter(t, c).script("UPDATE meta SET latest = 'soon'"))
	must(t, c.Close())
	_, err := Open(bg, config(path))
	wants(t, err, raid.ErrCorrupt)
}
