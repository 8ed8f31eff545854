package chunkstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

const testArray = raid.ArrayID("0123456789abcdefghijKL")

// openDir opens a real directory until the test's end.
func openDir(t testing.TB, path string) *chunkstore.Dir {
	t.Helper()
	d, err := chunkstore.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// openStore opens a store until the test's end.
func openStore(t testing.TB, cfg chunkstore.Config) *chunkstore.Store {
	t.Helper()
	s, err := chunkstore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newStore opens a store in a new directory, which it returns.
func newStore(t testing.TB) (*chunkstore.Store, string) {
	t.Helper()
	dir := t.TempDir()
	return openStore(t, chunkstore.Config{FS: openDir(t, dir)}), dir
}

// reopen opens a store in a directory that another store was closed in.
func withStore(t testing.TB, dir string, do func(*chunkstore.Store)) {
	t.Helper()
	d, err := chunkstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := chunkstore.Open(chunkstore.Config{FS: d})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do(s)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// testChunk is a chunk to store.
type testChunk struct {
	meta    raid.ChunkMeta
	payload []byte
}

func (c testChunk) name() raid.ChunkName { return c.meta.Key.Name() }
func (c testChunk) crc() uint32          { return raid.Checksum(c.payload) }

// newChunk makes a chunk of n random bytes, of the given run of the controller.
func newChunk(t testing.TB, n int, run uint32) testChunk {
	t.Helper()
	upload, err := raid.NewUploadID(run, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload := randomBytes(n)
	return testChunk{raid.ChunkMeta{
		Array: testArray, Key: raid.ChunkKey{Upload: upload, Stripe: 3, Part: 2, Attempt: 1},
		Level: "raid1", StripeSize: 4 << 20, Length: int64(n), Blocks: raid.BlockChecksums(payload), Commit: 17,
		File: &raid.FileMeta{ID: 7, Filename: "ü/\n.jpg", ContentType: "image/jpeg", Created: "2026-01-02 03:04:05",
			Size: int64(2 * n), SHA256: [32]byte{1, 2, 3}, Stripes: 4},
	}, payload}
}

func write(t testing.TB, s *chunkstore.Store, c testChunk) {
	t.Helper()
	if err := s.Write(t.Context(), c.meta, c.payload); err != nil {
		t.Fatalf("write chunk: %v", err)
	}
}

// read reads a whole chunk.
func read(ctx context.Context, s *chunkstore.Store, c testChunk) ([]byte, error) {
	dst := make([]byte, len(c.payload))
	_, err := s.Read(ctx, chunkstore.ReadRequest{
		Name: c.name(), Length: c.meta.Length, ExpectLength: c.meta.Length, ExpectCRC: c.crc(), Dst: dst,
	})
	return dst, err
}

func mustRead(t testing.TB, s *chunkstore.Store, c testChunk) {
	t.Helper()
	b, err := read(t.Context(), s, c)
	if err != nil || !bytes.Equal(b, c.payload) {
		t.Fatalf("chunk %s of %d bytes reads wrong: %v", c.name(), len(c.payload), err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// list lists everything in pages.
func list(t testing.TB, s *chunkstore.Store, page int, minRun, maxRun uint32) (names []raid.ChunkName) {
	t.Helper()
	var after raid.ChunkName
	for {
		got, more, err := s.List(t.Context(), after, page, minRun, maxRun)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, got...)
		if !more {
			return names
		}
		if len(got) != page {
			t.Fatalf("a page of %d names says there are more, want %d names", len(got), page)
		}
		after = got[len(got)-1]
	}
}

func (c testChunk) path(dir string) string {
	return filepath.Join(dir, string(c.name()[:2]), string(c.name()))
}

func TestChunkComesBackAsItWasWritten(t *testing.T) {
	s, dir := newStore(t)
	for _, n := range []int{0, 1, 100, 2048, 4096, 65535, 65536, 65537, 200_000, 1 << 20, 2<<20 + 1} {
		c := newChunk(t, n, 1)
		write(t, s, c)
		mustRead(t, s, c)
		if err := s.Verify(t.Context(), c.name(), c.meta.Length, c.crc()); err != nil {
			t.Fatal(err)
		}
		m, err := s.Meta(t.Context(), c.name())
		if err != nil {
			t.Fatal(err)
		}
		if *m.File != *c.meta.File || !slices.Equal(m.Blocks, c.meta.Blocks) {
			t.Fatalf("trailer of %d bytes reads %+v, want %+v", n, m, c.meta)
		}
		m.File, m.Blocks = c.meta.File, nil
		want := c.meta
		want.Blocks = nil
		if m.Array != want.Array || m.Key != want.Key || m.Level != want.Level || m.StripeSize != want.StripeSize ||
			m.Length != want.Length || m.Commit != want.Commit {
			t.Fatalf("trailer reads %+v, want %+v", m, want)
		}
		file, err := os.ReadFile(c.path(dir))
		if err != nil || !bytes.HasPrefix(file, c.payload) {
			t.Fatalf("the file does not begin with the payload: %v", err)
		}
	}
	if got := s.Stats(); got.Chunks != 11 || got.ReadOnly || got.Corrupt != 0 || got.HighestCommit != 17 {
		t.Fatalf("stats %+v", got)
	}
}

func TestRangesOfWholeBlocksAreRead(t *testing.T) {
	s, _ := newStore(t)
	const n = 5*raid.BlockSize + 77
	c := newChunk(t, n, 1)
	write(t, s, c)
	for first := int64(0); first <= 5; first++ {
		for last := first; last <= 6; last++ {
			offset, end := first*raid.BlockSize, min(last*raid.BlockSize, n)
			dst := make([]byte, end-offset)
			res, err := s.Read(t.Context(), chunkstore.ReadRequest{Name: c.name(), Offset: offset, Length: end - offset,
				ExpectLength: n, ExpectCRC: c.crc(), Dst: dst})
			if err != nil || !bytes.Equal(dst, c.payload[offset:end]) || res.Length != n || !slices.Equal(res.Blocks, c.meta.Blocks) {
				t.Fatalf("bytes %d to %d read wrong: %v", offset, end, err)
			}
		}
	}
}

func TestRangesThatAreNoBlocksAreRefused(t *testing.T) {
	s, _ := newStore(t)
	const n = 2*raid.BlockSize + 77
	c := newChunk(t, n, 1)
	write(t, s, c)
	for _, r := range []struct{ offset, length, dst int64 }{
		{1, raid.BlockSize, raid.BlockSize},
		{0, 100, 100},
		{0, raid.BlockSize, 100},
		{0, n + 1, n + 1},
		{3 * raid.BlockSize, 0, 0},
		{-raid.BlockSize, raid.BlockSize, raid.BlockSize},
		{raid.BlockSize, -raid.BlockSize, 0},
		{1<<63 - raid.BlockSize, raid.BlockSize, raid.BlockSize},
	} {
		_, err := s.Read(t.Context(), chunkstore.ReadRequest{Name: c.name(), Offset: r.offset, Length: r.length,
			ExpectLength: n, ExpectCRC: c.crc(), Dst: make([]byte, r.dst)})
		wantErr(t, err, raid.ErrInvalid)
	}
}

func TestWhatTheCatalogDoesNotExpectIsCorrupt(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 1000, 1)
	write(t, s, c)
	wantErr(t, s.Verify(t.Context(), c.name(), 999, c.crc()), raid.ErrCorrupt)
	wantErr(t, s.Verify(t.Context(), c.name(), 1000, c.crc()+1), raid.ErrCorrupt)
	_, err := s.Read(t.Context(), chunkstore.ReadRequest{Name: c.name(), Length: 999, ExpectLength: 999,
		ExpectCRC: raid.Checksum(c.payload[:999]), Dst: make([]byte, 999)})
	wantErr(t, err, raid.ErrCorrupt)
	if n := s.Stats().Corrupt; n != 0 {
		t.Fatalf("%d chunks count as corrupt that are what they say", n)
	}
}

func TestPayloadIsCheckedBeforeItIsWritten(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 200_000, 1)
	for name, spoil := range map[string]func(*testChunk){
		"flipped":    func(c *testChunk) { c.payload = bytes.Clone(c.payload); c.payload[150_000] ^= 1 },
		"short":      func(c *testChunk) { c.payload = c.payload[:100] },
		"few blocks": func(c *testChunk) { c.meta.Blocks = c.meta.Blocks[:1] },
	} {
		bad := c
		spoil(&bad)
		if err := s.Write(t.Context(), bad.meta, bad.payload); !errors.Is(err, raid.ErrCorrupt) {
			t.Errorf("%s payload: %v", name, err)
		}
	}
	_, err := read(t.Context(), s, c)
	wantErr(t, err, raid.ErrNotFound)
	write(t, s, c)
}

func TestNameIsUsedOnce(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 1000, 1)
	write(t, s, c)
	other := newChunk(t, 500, 1)
	other.meta.Key = c.meta.Key
	wantErr(t, s.Write(t.Context(), other.meta, other.payload), raid.ErrInvalid)
	mustRead(t, s, c)
	for i, err := range s.Delete(t.Context(), []raid.ChunkName{c.name(), c.name()}) {
		if i == 0 && err != nil || i == 1 && !errors.Is(err, raid.ErrNotFound) {
			t.Fatalf("delete %d: %v", i, err)
		}
	}
	// A Store that was given up may arrive after its Delete.
	wantErr(t, s.Write(t.Context(), c.meta, c.payload), raid.ErrInvalid)
	never := newChunk(t, 10, 1)
	wantErr(t, s.Delete(t.Context(), []raid.ChunkName{never.name()})[0], raid.ErrNotFound)
	wantErr(t, s.Write(t.Context(), never.meta, never.payload), raid.ErrInvalid)
}

func TestConcurrentWritersOfOneNameMakeOneChunk(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 1000, 1)
	errs := make(chan error, 8)
	for range 8 {
		go func() { errs <- s.Write(t.Context(), c.meta, c.payload) }()
	}
	var won int
	for range 8 {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, raid.ErrInvalid) {
			t.Error(err)
		}
	}
	if won != 1 || s.Stats().Chunks != 1 {
		t.Fatalf("%d writers won, %d chunks", won, s.Stats().Chunks)
	}
}

func TestChunkOfAnotherArrayIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, chunkstore.Config{FS: openDir(t, dir), Array: func() raid.ArrayID { return testArray }})
	c := newChunk(t, 10, 1)
	write(t, s, c)
	other := newChunk(t, 10, 1)
	other.meta.Array = "another"
	wantErr(t, s.Write(t.Context(), other.meta, other.payload), raid.ErrInvalid)
}

func TestNamesThatAreNoChunkNamesMeetNoPath(t *testing.T) {
	s, _ := newStore(t)
	for _, name := range []raid.ChunkName{"", "a", "ab", "../../../../etc/passwd", "raid-node.json", "ab/cd", "tmp/1"} {
		_, err := s.Read(t.Context(), chunkstore.ReadRequest{Name: name})
		wantErr(t, err, raid.ErrInvalid)
		wantErr(t, s.Verify(t.Context(), name, 0, 0), raid.ErrInvalid)
		wantErr(t, s.Delete(t.Context(), []raid.ChunkName{name})[0], raid.ErrInvalid)
		_, err = s.Meta(t.Context(), name)
		wantErr(t, err, raid.ErrInvalid)
		wantErr(t, s.WriteLab(t.Context(), string("/"+name), nil), raid.ErrInvalid)
		_, err = s.ReadLab(t.Context(), string("/"+name))
		wantErr(t, err, raid.ErrInvalid)
	}
	huge := newChunk(t, 10, 1)
	huge.meta.Key.Stripe = raid.MaxStripe + 1
	wantErr(t, s.Write(t.Context(), huge.meta, huge.payload), raid.ErrInvalid)
}

func TestClosedStoreRefusesEverything(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 10, 1)
	write(t, s, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.Write(t.Context(), newChunk(t, 1, 1).meta, nil), raid.ErrShutdown)
	_, err := read(t.Context(), s, c)
	wantErr(t, err, raid.ErrShutdown)
	wantErr(t, s.Delete(t.Context(), []raid.ChunkName{c.name()})[0], raid.ErrShutdown)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEndedContextStartsNothing(t *testing.T) {
	s, _ := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := newChunk(t, 10, 1)
	wantErr(t, s.Write(ctx, c.meta, c.payload), context.Canceled)
	_, err := read(t.Context(), s, c)
	wantErr(t, err, raid.ErrNotFound)
}

// The names are random; the sizes are few, so that blocks and tails meet.
func TestManyWritersReadersAndDeletersAgree(t *testing.T) {
	s, _ := newStore(t)
	done := make(chan int64, 16)
	for w := range 16 {
		go func() {
			r := mrand.New(mrand.NewPCG(uint64(w), 1))
			var kept int64
			for range 20 {
				c := newChunk(t, r.IntN(3)*70_000+r.IntN(10), uint32(w))
				if err := s.Write(t.Context(), c.meta, c.payload); err != nil {
					t.Error(err)
				}
				if b, err := read(t.Context(), s, c); err != nil || !bytes.Equal(b, c.payload) {
					t.Errorf("read: %v", err)
				}
				if r.IntN(2) == 0 {
					kept++
					continue
				}
				if err := s.Delete(t.Context(), []raid.ChunkName{c.name()})[0]; err != nil {
					t.Error(err)
				}
			}
			done <- kept
		}()
	}
	var kept int64
	for range 16 {
		kept += <-done
	}
	if got := int64(len(list(t, s, 7, 0, 100))); got != kept || s.Stats().Chunks != kept {
		t.Fatalf("%d chunks listed, %d counted, want %d", got, s.Stats().Chunks, kept)
	}
}
