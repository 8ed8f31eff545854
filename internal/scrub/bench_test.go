package scrub_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/scrub"
)

// BenchmarkScrubAgainstCat compares a pass of the scrub with cat(1) of the same files, by
// turns, both from the disk. RAIDPI_BENCH_DIR is on the disk that is meant.
func BenchmarkScrubAgainstCat(b *testing.B) {
	for _, size := range []struct {
		name          string
		chunks, bytes int
	}{{"2 MiB", 256, 2 << 20}, {"64 KiB", 2000, 64 << 10}, {"2 KiB", 5000, 2 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			dir, err := os.MkdirTemp(os.Getenv("RAIDPI_BENCH_DIR"), "scrub")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			fsys, err := chunkstore.OpenDir(dir)
			if err != nil {
				b.Fatal(err)
			}
			defer fsys.Close()
			store, err := chunkstore.Open(chunkstore.Config{FS: fsys})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			fill(b, store, size.chunks, size.bytes)
			s := scrub.New(scrub.Config{Disk: store, ID: "x", Chunks: func() int64 { return int64(size.chunks) }, QuietFor: func() time.Duration { return time.Hour }})
			ctx, cancel := context.WithCancel(b.Context())
			over := make(chan struct{})
			go func() { defer close(over); s.Run(ctx) }()
			defer func() { cancel(); <-over }()
			s.Order(raid.ScrubOrder{Every: time.Hour})
			var scrubbed, catted time.Duration
			for b.Loop() {
				catted += cat(b, dir)
				scrubbed += pass(s)
			}
			mib := float64(b.N*size.chunks*size.bytes) / (1 << 20)
			b.ReportMetric(mib/scrubbed.Seconds(), "scrub-MiB/s")
			b.ReportMetric(mib/catted.Seconds(), "cat-MiB/s")
			b.ReportMetric(catted.Seconds()/scrubbed.Seconds(), "of-cat")
		})
	}
}

func fill(b *testing.B, store *chunkstore.Store, chunks, bytes int) {
	payload := make([]byte, bytes)
	for range chunks {
		rand.Read(payload)
		upload, err := raid.NewUploadID(1, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		meta := raid.ChunkMeta{
			Array: "0123456789abcdefghijKL", Key: raid.ChunkKey{Upload: upload, Part: 1, Attempt: 1}, Level: "raid1", StripeSize: 4 << 20,
			Length: int64(bytes), Blocks: raid.BlockChecksums(payload),
		}
		if err := store.Write(b.Context(), meta, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// pass has all chunks read once.
func pass(s *scrub.Scrubber) time.Duration {
	before, began := s.Progress().Last.Number, time.Now()
	s.Start()
	for s.Progress().Last.Number == before {
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// cat reads all chunks with cat(1), from the disk.
func cat(b *testing.B, dir string) time.Duration {
	files, err := filepath.Glob(filepath.Join(dir, "??", "*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		f.Close()
		if err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	for len(files) > 0 {
		n := min(len(files), 1000) // what fits a command line
		if err := exec.Command("cat", files[:n]...).Run(); err != nil {
			b.Fatal(err)
		}
		files = files[n:]
	}
	return time.Since(began)
}

// BenchmarkReadsBesideScrub compares reads of small chunks, one at a time, from the disk. They run
// by turns while a pass is under way and while it is paused.
func BenchmarkReadsBesideScrub(b *testing.B) {
	const chunks, size, batch = 2000, 64 << 10, 200
	dir, err := os.MkdirTemp(os.Getenv("RAIDPI_BENCH_DIR"), "scrub")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fsys, err := chunkstore.OpenDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer fsys.Close()
	store, err := chunkstore.Open(chunkstore.Config{FS: fsys})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	fill(b, store, chunks, size)
	names, _, err := store.Names(b.Context(), "", chunks)
	if err != nil {
		b.Fatal(err)
	}
	s := scrub.New(scrub.Config{Disk: store, ID: "x", Chunks: func() int64 { return chunks }, QuietFor: store.QuietFor})
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan struct{})
	go func() { defer close(over); s.Run(ctx) }()
	defer func() { cancel(); <-over }()
	var took [2][]time.Duration // paused, and not
	for b.Loop() {
		for beside := range took {
			s.Order(raid.ScrubOrder{Every: time.Hour, Paused: beside == 0})
			s.Start()
			for range batch {
				took[beside] = append(took[beside], readOne(b, store, dir, names[len(took[beside])*7%chunks]))
			}
		}
	}
	at := func(all []time.Duration, percent int) float64 {
		slices.Sort(all)
		return all[len(all)*percent/100].Seconds() * 1000
	}
	for i, what := range []string{"paused", "beside"} {
		b.ReportMetric(at(took[i], 50), what+"-p50-ms")
		b.ReportMetric(at(took[i], 99), what+"-p99-ms")
	}
}

// readOne reads a chunk from the disk, as a request does.
func readOne(b *testing.B, store *chunkstore.Store, dir string, name raid.ChunkName) time.Duration {
	f, err := os.Open(filepath.Join(dir, string(name[:2]), string(name)))
	if err != nil {
		b.Fatal(err)
	}
	err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	f.Close()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if _, err := store.Meta(b.Context(), name); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
