package chunkstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
)

// parallel runs do b.N times from n goroutines.
func parallel(b *testing.B, n int, do func() error) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

var benchLoads = []struct{ writers, size int }{{1, 2 << 10}, {16, 2 << 10}, {64, 2 << 10}, {8, 2 << 20}}

func BenchmarkWrite(b *testing.B) {
	for _, load := range benchLoads {
		b.Run(fmt.Sprintf("%dx%dKiB", load.writers, load.size>>10), func(b *testing.B) {
			s := openStore(b, chunkstore.Config{FS: openDir(b, b.TempDir()), MaxWriters: load.writers})
			b.SetBytes(int64(load.size))
			b.ReportAllocs()
			parallel(b, load.writers, func() error {
				c := newChunk(b, load.size, 1)
				return s.Write(b.Context(), c.meta, c.payload)
			})
		})
	}
}

// BenchmarkPlainWrite is the measure for BenchmarkWrite: the same steps, every writer for itself,
// and nothing else.
func BenchmarkPlainWrite(b *testing.B) {
	for _, load := range benchLoads {
		b.Run(fmt.Sprintf("%dx%dKiB", load.writers, load.size>>10), func(b *testing.B) {
			dir := b.TempDir()
			b.SetBytes(int64(load.size))
			parallel(b, load.writers, func() error {
				c := newChunk(b, load.size, 1)
				return writePlain(filepath.Join(dir, string(c.name()[:2])), string(c.name()), c.payload)
			})
		})
	}
}

func writePlain(dir, name string, payload []byte) error {
	made := os.Mkdir(dir, 0o750) == nil
	tmp := dir + name
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(payload)
	err = errors.Join(err, f.Sync(), f.Close(), os.Rename(tmp, filepath.Join(dir, name)), fsync(dir))
	if made {
		err = errors.Join(err, fsync(filepath.Dir(dir)))
	}
	return err
}

func fsync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func BenchmarkRead(b *testing.B) {
	for _, load := range []struct{ size, length int64 }{{2 << 10, 2 << 10}, {2 << 20, 64 << 10}, {2 << 20, 2 << 20}} {
		b.Run(fmt.Sprintf("%dKiBof%dKiB", load.length>>10, load.size>>10), func(b *testing.B) {
			s := openStore(b, chunkstore.Config{FS: openDir(b, b.TempDir())})
			c := newChunk(b, int(load.size), 1)
			write(b, s, c)
			dst := make([]byte, load.length)
			b.SetBytes(load.length)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Read(b.Context(), chunkstore.ReadRequest{Name: c.name(), Length: load.length,
					ExpectLength: load.size, ExpectCRC: c.crc(), Dst: dst}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
