package chunkstore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// endReader is an FS that reads the end of a file with few calls. A scan of a million
// trailers waits for little else. [Dir] is one.
type endReader interface {
	// ReadEnd fills b with the end of a file, or all of it. It returns the number of these bytes
	// and the size of the file. errors.ErrUnsupported: the file has to be opened instead.
	ReadEnd(name string, b []byte) (n int, size int64, err error)
}

// openAtOnce opens a file or folder with one call. os.Root makes one for each part of the name, and
// another for the poller. As with os.Root, no part of the name leads out of the directory; none may
// be a symbolic link. See mayTryRoot for its errors.
func (d *Dir) openAtOnce(name string, flag int, perm fs.FileMode) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flag) | unix.O_CLOEXEC | unix.O_LARGEFILE,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flag&unix.O_CREAT != 0 {
		how.Mode = uint64(perm.Perm())
	}
	if flag&(unix.O_WRONLY|unix.O_RDWR|unix.O_PATH) == 0 {
		how.Flags |= unix.O_NOATIME
	}
	for {
		fd, err = unix.Openat2(int(d.lock.Fd()), name, &how)
		switch {
		case errors.Is(err, syscall.EINTR): // as os does
			continue
		case err != nil:
			return 0, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return fd, nil
	}
}

// mayTryRoot reports that os.Root may manage what openAtOnce did not. The kernel or its sandbox has
// no such call, or the file is somebody else's, or a link is on the way. Any other error is the
// disk's word. What failed on it is not tried again as if it had not.
func mayTryRoot(err error) bool {
	return slices.ContainsFunc([]error{
		syscall.ENOSYS, syscall.EPERM, syscall.EINVAL, syscall.E2BIG, syscall.ELOOP, syscall.EXDEV, syscall.EAGAIN,
	}, func(e error) bool { return errors.Is(err, e) })
}

// ReadEnd implements endReader.
func (d *Dir) ReadEnd(name string, b []byte) (n int, size int64, err error) {
	fd, err := d.openAtOnce(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, 0, err
	case err != nil:
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

// metaAtOnce returns a chunk's trailer, if one read of its file's end shows it. In all other cases
// the caller has to open the file.
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
