package chunkstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// endReader is an FS that reads the end of a file with few calls: who looks at a million
// trailers waits for little else. [Dir] is one.
type endReader interface {
	// ReadEnd fills b with the end of a file, or all of it, and returns how many
	// bytes those are and the size of the file. errors.ErrUnsupported: it has to be
	// opened instead.
	ReadEnd(name string, b []byte) (n int, size int64, err error)
}

// ReadEnd implements endReader. As with os.Root, no part of the name leads out of the
// directory, and none may be a symbolic link.
func (d *Dir) ReadEnd(name string, b []byte) (n int, size int64, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOATIME | unix.O_LARGEFILE | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(d.lock.Fd()), name, &how)
	switch {
	case errors.Is(err, unix.ENOENT):
		return 0, 0, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	case err != nil: // an old kernel, a file of somebody else's, a lack of descriptors
		return 0, 0, errors.ErrUnsupported
	}
	defer unix.Close(fd)
	size, err = unix.Seek(fd, 0, unix.SEEK_END) // what is no regular file fails here, or is no chunk
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the size of %s: %w", name, err)
	}
	b = b[:min(int64(len(b)), size)]
	n, err = readFully(fd, b, size-int64(len(b)))
	return n, size, err
}

func readFully(fd int, b []byte, at int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], at+int64(n))
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return n, fmt.Errorf("read at byte %d: %w", at+int64(n), err)
		case m == 0:
			return n, errors.ErrUnsupported // it was cut short just now
		}
		n += max(m, 0)
	}
	return n, nil
}

// metaAtOnce is what a chunk says of itself, if that can be told from one read of its
// file's end. Whatever else is the case is left to who opens it.
func (s *Store) metaAtOnce(name raid.ChunkName) (m raid.ChunkMeta, ok bool) {
	if s.ends == nil {
		return m, false
	}
	buf := s.tails.Get().(*[tailLen]byte)
	defer s.tails.Put(buf)
	end := s.calls.begin()
	n, size, err := s.ends.ReadEnd(chunkPath(name), buf[:])
	end()
	if err != nil || n < footerLen {
		return m, false
	}
	last, record := buf[n-footerLen:n], buf[:n-footerLen]
	f, err := parseFooter(last, size)
	if err != nil || f.recordLen > int64(len(record)) {
		return m, false
	}
	record = record[int64(len(record))-f.recordLen:]
	if checkRecord(f, record, last) != nil {
		return m, false
	}
	m, err = parseRecord(record, size, name)
	return m, err == nil
}
