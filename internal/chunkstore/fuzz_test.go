package chunkstore

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// chunkFile is a whole chunk file.
func chunkFile(t testing.TB, m raid.ChunkMeta, payload []byte) []byte {
	t.Helper()
	m.Length, m.Blocks = int64(len(payload)), raid.BlockChecksums(payload)
	b, err := appendTrailer(bytes.Clone(payload), &m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fuzzMeta() raid.ChunkMeta {
	return raid.ChunkMeta{
		Array: "array", Key: raid.ChunkKey{Upload: raid.UploadID{1, 2, 3}, Stripe: 5, Part: 1, Attempt: 2}, Level: "raid1",
		StripeSize: 1 << 22, Commit: 9, File: &raid.FileMeta{ID: 1, Filename: "a", Created: "2026-01-01 00:00:00"},
	}
}

// FuzzChunkFile takes any bytes for a chunk file. What is accepted must be what
// we would have written.
func FuzzChunkFile(f *testing.F) {
	m := fuzzMeta()
	f.Add([]byte{})
	f.Add([]byte(magic))
	f.Add(chunkFile(f, m, nil))
	f.Add(chunkFile(f, m, []byte("payload")))
	f.Add(chunkFile(f, m, make([]byte, raid.BlockSize+1)))
	huge := chunkFile(f, m, []byte("payload"))
	binary.LittleEndian.PutUint32(huge[len(huge)-footerLen:], 1<<32-1)
	f.Add(huge)
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &chunk{f: fileOf(b), buf: new([tailLen]byte)}
		if err := c.readTrailer(m.Key.Name()); err != nil {
			return
		}
		if c.meta.Length > int64(len(b)) || int64(len(c.meta.Blocks)) != raid.BlockCount(c.meta.Length) {
			t.Fatalf("a file of %d bytes has a payload of %d with %d blocks", len(b), c.meta.Length, len(c.meta.Blocks))
		}
		payload := make([]byte, c.meta.Length)
		if err := c.read(payload, 0); err != nil || checkBlocks(c.meta.Blocks, 0, payload) != nil {
			return
		}
		again, err := appendTrailer(bytes.Clone(payload), &c.meta)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		d := &chunk{f: fileOf(again), buf: new([tailLen]byte)}
		if err := d.readTrailer(m.Key.Name()); err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
	})
}

// FuzzRecord takes any bytes for a record whose checksum was right.
func FuzzRecord(f *testing.F) {
	m := fuzzMeta()
	whole := chunkFile(f, m, []byte("payload"))
	n := binary.LittleEndian.Uint32(whole[len(whole)-footerLen:])
	f.Add(whole[7:7+n], int64(len(whole)))
	f.Add([]byte{}, int64(footerLen))
	f.Add([]byte{0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, int64(1000)) // a payload of 2^64-1 bytes
	f.Fuzz(func(t *testing.T, record []byte, size int64) {
		got, err := parseRecord(record, size, m.Key.Name())
		if err != nil {
			return
		}
		if got.Length < 0 || got.Key != m.Key || got.StripeSize < 0 || int64(len(got.Blocks)) != raid.BlockCount(got.Length) {
			t.Fatalf("accepted: %+v", got)
		}
	})
}

// FuzzMarker takes any text for a marker and for a checkpoint.
func FuzzMarker(f *testing.F) {
	f.Add(`{"format":1,"array":"","node":"0000000000000000000000","disk":"0000000000000000000000"}`)
	f.Add(checkpoint{highest: 42}.format())
	f.Add(checkpoint{highest: 1<<64 - 1, proven: raid.Commit{Number: 41, MAC: raid.CommitMAC{1, 2}}}.format())
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseMarker(text); err == nil && (!raid.ValidName(string(m.Node)) || !raid.ValidName(string(m.Disk))) {
			t.Fatalf("accepted: %+v", m)
		}
		if c, ok := parseCheckpoint(text); ok && c.format() != text {
			t.Fatalf("%q taken for %+v", text, c)
		}
	})
}

// A record that is larger than what is read at once is read whole.
func TestTrailerOfManyBlocksIsRead(t *testing.T) {
	m := fuzzMeta()
	for _, blocks := range []int{900, 1100, 100_000} {
		m.Length, m.Blocks = int64(blocks)*raid.BlockSize-5, make([]uint32, blocks)
		m.Blocks[blocks-1] = 7
		trailer, err := appendTrailer(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		c := &chunk{f: sparseFile{fileOf(trailer).(bytesFile), m.Length}, buf: new([tailLen]byte)}
		if err := c.readTrailer(m.Key.Name()); err != nil || len(c.meta.Blocks) != blocks || c.meta.Blocks[blocks-1] != 7 {
			t.Fatalf("%d blocks: %d read, %v", blocks, len(c.meta.Blocks), err)
		}
	}
}

// sparseFile has a hole before its bytes.
type sparseFile struct {
	bytesFile
	hole int64
}

func (s sparseFile) ReadAt(b []byte, offset int64) (int, error) {
	in := min(int64(len(b)), max(0, s.hole-offset))
	clear(b[:in])
	if in == int64(len(b)) {
		return len(b), nil
	}
	n, err := s.bytesFile.ReadAt(b[in:], offset+in-s.hole)
	return n + int(in), err
}

func (s sparseFile) Stat() (fs.FileInfo, error) { return fileInfo{size: s.hole + s.size}, nil }

func TestTrailerThatDoesNotFitIsRefused(t *testing.T) {
	m := fuzzMeta()
	m.Blocks = make([]uint32, maxRecord/4)
	if _, err := appendTrailer(nil, &m); err == nil {
		t.Fatal("a record of more than 1 MiB was written")
	}
}

// bytesFile is an open file in memory.
type bytesFile struct {
	*bytes.Reader
	size int64
}

func fileOf(b []byte) File { return bytesFile{bytes.NewReader(b), int64(len(b))} }

func (bytesFile) Write([]byte) (int, error)          { return 0, nil }
func (bytesFile) Close() error                       { return nil }
func (bytesFile) Sync() error                        { return nil }
func (bytesFile) Readdirnames(int) ([]string, error) { return nil, nil }

// Stat knows the size alone.
func (b bytesFile) Stat() (fs.FileInfo, error) { return fileInfo{size: b.size}, nil }

type fileInfo struct {
	fs.FileInfo
	size int64
}

func (i fileInfo) Size() int64     { return i.size }
func (fileInfo) Mode() fs.FileMode { return 0 }
