package repair

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// recentFor is the time for which a file's description is used again. That one is gone meanwhile
	// is noticed when its part can't be read, or the new copy can't be recorded.
	recentFor = time.Second
	// maxRecent bounds the descriptions that are kept, for some 64 KiB.
	maxRecent = 64
)

// recentFiles are the files whose parts are made just now: a file of many parts is looked
// up once, and not for each of them.
type recentFiles struct {
	mu sync.Mutex
	of map[raid.FileID]recentFile
}

type recentFile struct {
	file raid.File
	at   time.Time
}

// get is lookup, or what that has returned lately. Errors are not kept.
func (f *recentFiles) get(ctx context.Context, id raid.FileID, lookup func(context.Context, raid.FileID) (raid.File, error)) (raid.File, error) {
	f.mu.Lock()
	known, ok := f.of[id]
	f.mu.Unlock()
	if ok && time.Since(known.at) < recentFor {
		return known.file, nil
	}
	began := time.Now()
	file, err := lookup(ctx, id)
	if err != nil {
		return file, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil || len(f.of) >= maxRecent {
		f.of = map[raid.FileID]recentFile{}
	}
	f.of[id] = recentFile{file, began}
	return file, nil
}

// isGone reports whether a file is gone by now, whatever is remembered of it.
func (r *Repairer) isGone(ctx context.Context, id raid.FileID) bool {
	r.recent.drop(id)
	_, err := r.recent.get(ctx, id, r.cfg.Copies.Stored)
	return errors.Is(err, raid.ErrNotFound)
}

func (f *recentFiles) drop(id raid.FileID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, id)
}
