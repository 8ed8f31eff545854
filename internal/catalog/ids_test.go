package catalog

import (
	"context"
	"sync"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestFileIDsAreNeverGivenOutTwice(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	seen := map[raid.FileID]bool{}
	var highest raid.FileID
	for range 3 {
		c := openTest(t, path)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 600 {
					id, err := c.NextID(bg)
					mu.Lock()
					if err != nil || id < 1 || seen[id] || id <= highest {
						t.Errorf("id %d, %v; seen before: %v; earlier runs went up to %d", id, err, seen[id], highest)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for id := range seen {
			highest = max(highest, id)
		}
		must(t, c.Close())
	}
}

// A block whose transaction did not happen must not be given out: another run
// would give the same.
func TestFileIDsOfAFailedTransactionAreNotGivenOut(t *testing.T) {
	c := openTest(t, "")
	before := sqlInt(t, c, "SELECT next_id FROM meta")
	for range idBlock - idLow - 1 {
		_, err := c.NextID(bg)
		must(t, err)
	}
	must(t, idleWriter(t, c).script("CREATE TEMP TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT RAISE(ROLLBACK, 'no'); END"))
	refused := 0
	for i := 0; refused < 10; i++ {
		id, err := c.NextID(bg)
		if err != nil {
			refused++
		} else if int64(id) >= before {
			t.Fatalf("id %d is of a block that is not on disk", id)
		}
		if i == 0 && err != nil {
			t.Error("the first block ended early")
		}
	}
}

func TestFileIDsAreFetchedAheadOfNeed(t *testing.T) {
	c := openTest(t, "")
	release := hold(t, c)
	defer release()
	before := c.Commit()
	ctx, cancel := context.WithCancel(bg)
	cancel() // nothing may wait
	for range idBlock {
		_, err := c.NextID(ctx)
		must(t, err)
	}
	_, err := c.NextID(ctx)
	wants(t, err, context.Canceled)
	release()
	for c.Commit() == before {
		yield()
	}
	_, err = c.NextID(ctx)
	must(t, err)
}
