package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/scrub"
)

// ScrubAgainstCat has the chunks of a node that is stopped read by the node's own scrub, in this
// process, and by cat(1). They take turns, and both read from the disk. tell is told of each round.
func ScrubAgainstCat(ctx context.Context, dir string, rounds int, tell func(bytes int64, scrubbed, catted time.Duration)) (err error) {
	fsys, err := chunkstore.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fsys.Close()) }()
	store, err := chunkstore.Open(chunkstore.Config{FS: fsys})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s := scrub.New(scrub.Config{
		Disk: store, ID: "bench", Chunks: func() int64 { return store.Stats().Chunks }, QuietFor: func() time.Duration { return time.Hour },
	})
	ctx, stop := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() { defer close(over); s.Run(ctx) }()
	defer func() { stop(); <-over }()
	s.Order(raid.ScrubOrder{Every: 365 * 24 * time.Hour})
	if _, _, err := cat(ctx, dir); err != nil { // a host that has read them once is faster
		return err
	}
	for range rounds {
		bytes, catted, err := cat(ctx, dir)
		if err != nil {
			return err
		}
		before, began := s.Progress().Last.Number, time.Now()
		s.Start()
		for s.Progress().Last.Number == before && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		tell(bytes, time.Since(began), catted)
	}
	return ctx.Err()
}

// cat reads all chunks below dir, from the disk.
func cat(ctx context.Context, dir string) (bytes int64, took time.Duration, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "??", "*"))
	if err != nil {
		return 0, 0, err
	}
	for _, path := range files {
		n, err := uncached(path)
		if err != nil {
			return 0, 0, err
		}
		bytes += n
	}
	began := time.Now()
	for some := range slices.Chunk(files, 1000) { // what fits a command line
		if err := exec.CommandContext(ctx, "cat", some...).Run(); err != nil {
			return 0, 0, fmt.Errorf("cat: %w", err)
		}
	}
	return bytes, time.Since(began), nil
}

// uncached has the kernel forget a file's bytes, and returns how many there are.
func uncached(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
