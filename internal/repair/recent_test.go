package repair

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// lookups counts what the catalog is asked for.
type lookups map[raid.FileID]int

func (l lookups) stored(_ context.Context, id raid.FileID) (raid.File, error) {
	l[id]++
	if id == 0 {
		return raid.File{}, raid.ErrNotFound
	}
	return raid.File{ID: id}, nil
}

func TestAFileIsLookedUpOnceForManyParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := lookups{}
		var files recentFiles
		get := func(id raid.FileID, times int) {
			t.Helper()
			for range times {
				if f, err := files.get(t.Context(), id, asked.stored); err != nil || f.ID != id {
					t.Fatalf("file %d is %d, %v", id, f.ID, err)
				}
			}
		}
		get(1, 32)
		if asked[1] != 1 {
			t.Errorf("it was looked up %d times for 32 parts", asked[1])
		}
		time.Sleep(recentFor)
		get(1, 1)
		if asked[1] != 2 {
			t.Error("what is known of it is believed for ever")
		}
		for range 2 {
			if _, err := files.get(t.Context(), 0, asked.stored); !errors.Is(err, raid.ErrNotFound) {
				t.Errorf("a file that is none: %v", err)
			}
		}
		if asked[0] != 2 {
			t.Error("that there was none is remembered")
		}
		for id := raid.FileID(10); id < 10_000; id++ {
			get(id, 1)
		}
		if len(files.of) > maxRecent {
			t.Errorf("%d are remembered", len(files.of))
		}
	})
}
