package chunkstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// refuses checks that no way of reading returns the chunk as whole.
func refuses(t *testing.T, dir string, c testChunk, what string) {
	t.Helper()
	withStore(t, dir, func(s *chunkstore.Store) {
		if _, err := read(t.Context(), s, c); !errors.Is(err, raid.ErrCorrupt) && !errors.Is(err, raid.ErrUnsupported) {
			t.Errorf("%s: read says %v", what, err)
		}
		if err := s.Verify(t.Context(), c.name(), c.meta.Length, c.crc()); !errors.Is(err, raid.ErrCorrupt) && !errors.Is(err, raid.ErrUnsupported) {
			t.Errorf("%s: verify says %v", what, err)
		}
		if n := s.Stats().Corrupt; n != 1 {
			t.Errorf("%s: %d chunks count as corrupt, want 1", what, n)
		}
	})
	if _, err := os.Stat(c.path(dir)); err != nil {
		t.Errorf("%s: the corrupt chunk is not kept: %v", what, err)
	}
}

// Every byte of a small chunk is flipped in turn: payload, record, and each
// field of the footer.
func TestNoFlippedByteIsServed(t *testing.T) {
	dir := t.TempDir()
	c := newChunk(t, 100, 1)
	withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c) })
	whole, err := os.ReadFile(c.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	d := openDir(t, dir)
	s := openStore(t, chunkstore.Config{FS: d})
	for i := range whole {
		for _, bit := range []byte{1, 0x80} {
			rotten := bytes.Clone(whole)
			rotten[i] ^= bit
			if err := os.WriteFile(c.path(dir), rotten, 0o640); err != nil {
				t.Fatal(err)
			}
			if _, err := read(t.Context(), s, c); !errors.Is(err, raid.ErrCorrupt) {
				t.Fatalf("byte %d of %d flipped: read says %v", i, len(whole), err)
			}
			if err := s.Verify(t.Context(), c.name(), c.meta.Length, c.crc()); !errors.Is(err, raid.ErrCorrupt) {
				t.Fatalf("byte %d of %d flipped: verify says %v", i, len(whole), err)
			}
		}
	}
	if err := os.WriteFile(c.path(dir), whole, 0o640); err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, c)
}

// In a large chunk the parts are read by different calls.
func TestNoRegionOfALargeChunkIsServedRotten(t *testing.T) {
	dir := t.TempDir()
	const n = 3*raid.BlockSize + 1000
	c := newChunk(t, n, 1)
	withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c) })
	whole, err := os.ReadFile(c.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	end := len(whole)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 4; return b }
	}
	cut := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:at] }
	}
	for what, rot := range map[string]func([]byte) []byte{
		"first byte":            flip(0),
		"second block":          flip(raid.BlockSize + 5),
		"last byte of payload":  flip(n - 1),
		"record":                flip(n + 10),
		"record length":         flip(end - 20),
		"checksum":              flip(end - 15),
		"version":               flip(end - 12),
		"flags":                 flip(end - 9),
		"magic":                 flip(end - 1),
		"cut in the footer":     cut(end - 1),
		"cut in the record":     cut(n + 5),
		"cut after the payload": cut(n),
		"cut in the payload":    cut(n - 1),
		"empty":                 cut(0),
		"a byte too many":       func(b []byte) []byte { return append(b, 0) },
		"a byte inserted":       func(b []byte) []byte { return append(b[:7:7], append([]byte{0}, b[7:]...)...) },
		"zeroed by a power cut": func(b []byte) []byte { clear(b); return b },
		"tail zeroed":           func(b []byte) []byte { clear(b[end-4096:]); return b },
		"blocks exchanged": func(b []byte) []byte {
			return append(bytes.Clone(b[raid.BlockSize:2*raid.BlockSize]), append(bytes.Clone(b[:raid.BlockSize]), b[2*raid.BlockSize:]...)...)
		},
		"record length enormous": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[end-20:], 1<<32-1); return b },
	} {
		if err := os.WriteFile(c.path(dir), rot(bytes.Clone(whole)), 0o640); err != nil {
			t.Fatal(err)
		}
		refuses(t, dir, c, what)
	}
}

func TestValidChunkCopiedOverAnotherIsCorrupt(t *testing.T) {
	dir := t.TempDir()
	c, other := newChunk(t, 1000, 1), newChunk(t, 1000, 1)
	// The payloads are the same, so nothing but the name tells.
	other.payload, other.meta.Blocks = c.payload, c.meta.Blocks
	withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c); write(t, s, other) })
	b, err := os.ReadFile(other.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(dir), b, 0o640); err != nil {
		t.Fatal(err)
	}
	refuses(t, dir, c, "copied over")
}

func TestRottenBlockSpoilsOnlyReadsThatMeetIt(t *testing.T) {
	dir := t.TempDir()
	c := newChunk(t, 4*raid.BlockSize, 1)
	withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c) })
	f, err := os.OpenFile(c.path(dir), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{c.payload[2*raid.BlockSize+9] ^ 1}, 2*raid.BlockSize+9); err != nil {
		t.Fatal(err)
	}
	withStore(t, dir, func(s *chunkstore.Store) {
		for block := range int64(4) {
			dst := make([]byte, raid.BlockSize)
			_, err := s.Read(t.Context(), chunkstore.ReadRequest{Name: c.name(), Offset: block * raid.BlockSize,
				Length: raid.BlockSize, ExpectLength: c.meta.Length, ExpectCRC: c.crc(), Dst: dst})
			if rotten := block == 2; errors.Is(err, raid.ErrCorrupt) != rotten {
				t.Errorf("block %d: %v", block, err)
			}
		}
	})
}

// Which of them are good tells another copy's trailer.
func TestBytesOfARottenChunkAreHandedOutToWhoAsksForThemUnchecked(t *testing.T) {
	dir := t.TempDir()
	const n = 2*raid.BlockSize + 1000
	c := newChunk(t, n, 1)
	withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c) })
	whole, err := os.ReadFile(c.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	for what, rot := range map[string]struct {
		file []byte
		upTo int64 // so many bytes are there
	}{
		"whole":       {whole, n},
		"no trailer":  {whole[:n], n},
		"cut":         {whole[:raid.BlockSize+5], raid.BlockSize},
		"empty":       {nil, 0},
		"all zero":    {make([]byte, len(whole)), n},
		"much longer": {append(bytes.Clone(whole), whole...), n},
	} {
		if err := os.WriteFile(c.path(dir), rot.file, 0o640); err != nil {
			t.Fatal(err)
		}
		withStore(t, dir, func(s *chunkstore.Store) {
			for at := int64(0); at < n; at += raid.BlockSize {
				dst := make([]byte, min(raid.BlockSize, n-at))
				res, err := s.Read(t.Context(), chunkstore.ReadRequest{Name: c.name(), Offset: at, Length: int64(len(dst)),
					ExpectLength: n, ExpectCRC: c.crc(), Dst: dst, Unchecked: true})
				switch there := at+int64(len(dst)) <= rot.upTo; {
				case !there && !errors.Is(err, raid.ErrCorrupt):
					t.Errorf("%s: what is not there is %v", what, err)
				case there && (err != nil || !bytes.Equal(dst, rot.file[at:at+int64(len(dst))]) || len(res.Blocks) > 0):
					t.Errorf("%s: byte %d: %v, %d checksums", what, at, err, len(res.Blocks))
				}
			}
		})
	}
}

func TestScanFindsTheHighestCommitAndCorruptTrailers(t *testing.T) {
	dir := t.TempDir()
	var rotten testChunk
	withStore(t, dir, func(s *chunkstore.Store) {
		for i := range 50 {
			c := newChunk(t, 100, 1)
			c.meta.Commit = uint64(1000 + i*7%50)
			write(t, s, c)
			rotten = c
		}
		foreign := newChunk(t, 100, 1)
		foreign.meta.Commit, foreign.meta.Array = 1<<40, "another"
		write(t, s, foreign)
	})
	// What a checkpoint that is gone or behind leaves to the scan.
	if err := os.Remove(dir + "/raid-node.commit"); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(rotten.path(dir), 50); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, dir)
	s := openStore(t, chunkstore.Config{FS: d, Array: func() raid.ArrayID { return testArray }})
	kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	if st := s.Stats(); st.HighestCommit != 1049 || st.Corrupt != 1 || st.Chunks != 51 {
		t.Fatalf("after the scan: %+v", st)
	}
}
