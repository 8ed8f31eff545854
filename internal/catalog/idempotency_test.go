package catalog

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func storeWithKey(t *testing.T, c *Catalog, key string) (raid.File, error) {
	t.Helper()
	fin := newFile(t, c, 1)
	fin.Idempotency = &raid.IdempotencyKey{Key: key, Fingerprint: [32]byte{1, 31: 9}}
	return c.Finish(bg, fin)
}

func TestIdempotencyKeyFindsItsFile(t *testing.T) {
	c := openTest(t, "")
	if _, _, ok, err := c.FindKey(bg, "k"); ok || err != nil {
		t.Errorf("a key that nobody used: %v, %v", ok, err)
	}
	for _, key := range []string{"k", "k\x00k", "\xff", "K", "' OR 1=1 --"} {
		f, err := storeWithKey(t, c, key)
		must(t, err)
		id, fp, ok, err := c.FindKey(bg, key)
		if id != f.ID || fp != [32]byte{1, 31: 9} || !ok || err != nil {
			t.Errorf("key %q: file %d, %v, %v, %v", key, id, fp, ok, err)
		}
	}
	for _, key := range []string{"", string(make([]byte, 256))} {
		_, err := storeWithKey(t, c, key)
		wants(t, err, raid.ErrInvalid)
	}
}

func TestTwoUploadsWithOneKeyStoreOneFile(t *testing.T) {
	c := openTest(t, "")
	release := hold(t, c)
	defer release()
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := 0
	for range 5 {
		wg.Go(func() {
			_, err := storeWithKey(t, c, "same")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				stored++
			} else if !errors.Is(err, raid.ErrPrecondition) {
				t.Error(err)
			}
		})
	}
	queued(c, 5)
	release()
	wg.Wait()
	if stored != 1 {
		t.Errorf("%d files were stored with the same key", stored)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM chunk"); n != 4 {
		t.Errorf("%d chunks, want those of one file", n)
	}
}

func TestIdempotencyKeyLastsADayOfEachRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		found := func(c *Catalog, key string) bool {
			_, _, ok, err := c.FindKey(bg, key)
			must(t, err)
			return ok
		}
		c := openTest(t, path)
		time.Sleep(23 * time.Hour)
		f, err := storeWithKey(t, c, "k")
		must(t, err)
		time.Sleep(24*time.Hour - time.Second)
		if !found(c, "k") {
			t.Error("forgotten within 24 hours")
		}
		must(t, c.Close())

		c = openTest(t, path) // counted anew: no clock is trusted over a restart
		time.Sleep(24*time.Hour - time.Second)
		if !found(c, "k") {
			t.Error("forgotten within 24 hours of the next start")
		}
		_, err = storeWithKey(t, c, "k")
		wants(t, err, raid.ErrPrecondition)
		time.Sleep(time.Second)
		if found(c, "k") {
			t.Error("found after 24 hours")
		}
		g, err := storeWithKey(t, c, "k")
		must(t, err)
		if id, _, _, _ := c.FindKey(bg, "k"); id != g.ID || id == f.ID {
			t.Errorf("key of file %d finds %d", g.ID, id)
		}
	})
}

func TestExpiredKeysAreDroppedWithoutWritesOfTheirOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		c := openTest(t, path)
		for i := range 20 {
			_, err := storeWithKey(t, c, "old"+itoa(int64(i)))
			must(t, err)
		}
		commit := c.Commit()
		time.Sleep(100 * time.Hour)
		if c.Commit() != commit {
			t.Error("an idle catalog wrote")
		}
		for i := range 3 {
			_, err := storeWithKey(t, c, "new"+itoa(int64(i)))
			must(t, err)
		}
		if n := sqlInt(t, c, "SELECT count(*) FROM idempotency"); n != 3 {
			t.Errorf("%d keys, want the 3 new ones", n)
		}
	})
}
