package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/raidpi/raidpi/internal/raid"
)

// tailLen is the length of a file's end that is read at once. It holds the trailer of a payload of
// 60 MiB, and a small chunk as a whole.
const tailLen = 4096

// chunk is an open chunk file whose trailer was checked.
type chunk struct {
	f    File
	meta raid.ChunkMeta
	// tail are the last bytes of the file, from tailAt on.
	tail   []byte
	tailAt int64
	buf    *[tailLen]byte // tail's memory
	store  *Store         // where buf goes back to
}

// openFile opens a chunk's file, or fails with raid.ErrNotFound.
func (s *Store) openFile(name raid.ChunkName) (File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if s.names.isVoid(name) {
		return nil, raid.ErrNotFound
	}
	f, err := s.fs.OpenFile(chunkPath(name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		s.corrupt.remove(name)
		return nil, raid.ErrNotFound
	}
	return f, err
}

// open opens a chunk and checks its trailer. It fails with raid.ErrNotFound, and
// with raid.ErrCorrupt, which it reports.
func (s *Store) open(name raid.ChunkName) (*chunk, error) {
	f, err := s.openFile(name)
	if err != nil {
		return nil, err
	}
	c, err := s.chunkOf(f, name)
	if err != nil {
		return nil, s.found(name, err)
	}
	return c, nil
}

// openAt opens a chunk that lies somewhere else, and reports nothing.
func (s *Store) openAt(path string, name raid.ChunkName) (*chunk, error) {
	f, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return s.chunkOf(f, name)
}

// chunkOf reads the trailer of an open file, which it closes if that is corrupt.
func (s *Store) chunkOf(f File, name raid.ChunkName) (*chunk, error) {
	c := &chunk{f: f, buf: s.tails.Get().(*[tailLen]byte), store: s}
	if err := c.readTrailer(name); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// openWanted opens a chunk that the catalog asks for, and brings it back if it is in
// the trash. It fails like open, and with raid.ErrCorrupt when the chunk is another
// than the catalog expects.
func (s *Store) openWanted(name raid.ChunkName, length int64, crc uint32) (*chunk, error) {
	c, err := s.open(name)
	if errors.Is(err, raid.ErrNotFound) && !s.trash.isEmpty() {
		back, failed := s.restore(name, length, crc)
		switch {
		case failed != nil:
			return nil, failed
		case back:
			c, err = s.open(name)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := c.expect(length, crc); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *chunk) close() {
	c.f.Close()
	c.store.tails.Put(c.buf)
	c.tail, c.buf = nil, nil
}

// found reports a chunk that can't be served, once, and passes the error on. One that was
// deleted while it was read is not counted: nobody would take that back.
func (s *Store) found(name raid.ChunkName, err error) error {
	if (errors.Is(err, raid.ErrCorrupt) || errors.Is(err, raid.ErrUnsupported)) && s.corrupt.add(name) {
		if _, gone := fileSize(s.fs, chunkPath(name)); errors.Is(gone, fs.ErrNotExist) {
			s.corrupt.remove(name)
			return err
		}
		s.log.Error("Chunk is corrupt; it stays on disk and is not served", "chunk", string(name), "file", chunkPath(name), "reason", err)
	}
	return err
}

func (c *chunk) readTrailer(name raid.ChunkName) error {
	fi, err := c.f.Stat()
	if err != nil {
		return err
	}
	size := fi.Size()
	if !fi.Mode().IsRegular() || size < footerLen {
		return fmt.Errorf("it is no file of %d bytes or more: %w", footerLen, raid.ErrCorrupt)
	}
	c.tailAt = max(0, size-tailLen)
	c.tail = c.buf[:size-c.tailAt]
	if err := readAt(c.f, c.tail, c.tailAt); err != nil {
		return err
	}
	end := c.tail[len(c.tail)-footerLen:]
	f, err := parseFooter(end, size)
	if err != nil {
		return err
	}
	record := c.tail[:len(c.tail)-footerLen]
	if n := int64(len(record)); n >= f.recordLen {
		record = record[n-f.recordLen:]
	} else {
		record = make([]byte, f.recordLen) // at most maxRecord
		if err := readAt(c.f, record, size-footerLen-f.recordLen); err != nil {
			return err
		}
	}
	if err := checkRecord(f, record, end); err != nil {
		return err
	}
	c.meta, err = parseRecord(record, size, name)
	return err
}

// read fills b from the payload, unverified.
func (c *chunk) read(b []byte, offset int64) error {
	if offset >= c.tailAt {
		copy(b, c.tail[offset-c.tailAt:])
		return nil
	}
	return readAt(c.f, b, offset)
}

// expect compares the chunk with what the catalog says of it.
func (c *chunk) expect(length int64, crc uint32) error {
	if c.meta.Length != length {
		return fmt.Errorf("it has %d bytes where the catalog expects %d: %w", c.meta.Length, length, raid.ErrCorrupt)
	}
	if got, ok := raid.CombineBlocks(c.meta.Blocks, length); !ok || got != crc {
		return fmt.Errorf("its CRC-32C is %08x where the catalog expects %08x: %w", got, crc, raid.ErrCorrupt)
	}
	return nil
}

// readAt fills b. Bytes that are missing or that the disk can't give back are corrupt. Any other
// failure, such as a disk that was pulled, says nothing of them.
func readAt(f io.ReaderAt, b []byte, offset int64) error {
	n, err := f.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("it ends at byte %d: %w", offset+int64(n), raid.ErrCorrupt)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("the disk can't read its byte %d: %w: %w", offset+int64(n), raid.ErrCorrupt, err)
	}
	return err
}
