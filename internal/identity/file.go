package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	fileMode = 0o600
	dirMode  = 0o700
	// maxFile bounds in bytes what is read of a file; ours have less than 4 KiB.
	maxFile = 64 << 10
	// newSuffix is appended to the name of a file that is being written.
	newSuffix = ".new"
)

// readSecret reads a file that only its owner may open. It fails with
// fs.ErrNotExist, with ErrExposed, and with ErrDamaged for what is no file or
// too large for one of ours.
func readSecret(path string) ([]byte, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("read %s: %w: it is a symbolic link; put the file itself there", path, ErrDamaged)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("read identity: %w; it must belong to the user that the daemon runs as", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("read %s: %w: it is not a regular file; move it away", path, ErrDamaged)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("read %s: %w (mode %04o), so its key may be known to them; if nobody else can have read it, run chmod 600 %s",
			path, ErrExposed, mode.Perm(), path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("read %s: %w: it has %d bytes, at most %d are expected; put a copy of it back", path, ErrDamaged, info.Size(), maxFile)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	return content, nil
}

// writeSecret replaces a file durably. After an error it is there in its old
// state, or whole in its new one.
func writeSecret(path string, content []byte) error {
	tmp := path + newSuffix
	if err := writeNew(tmp, content); err != nil {
		return errors.Join(fmt.Errorf("write identity: %w", err), removeIfThere(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("write identity: %w", err), removeIfThere(tmp))
	}
	return syncDir(filepath.Dir(path))
}

// writeNew writes a file that is not there yet, fsynced. One of this name is the
// rest of a write that broke off, which nobody has read.
func writeNew(path string, content []byte) error {
	if err := removeIfThere(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(fileMode) // a umask may have taken more
	}
	if err == nil {
		err = fsync(f)
	}
	return errors.Join(err, f.Close())
}

// fsync is os.File.Sync but for tests, which look at what is fsynced, and when.
var fsync = (*os.File).Sync

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeDir makes the directory, if it is missing, and its entry durable.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.Mkdir(dir, dirMode); err != nil {
		return fmt.Errorf("make the directory for the identity: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a directory durable. It is also called after
// reading: the process that wrote the file may have died before it got there.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("fsync directory: %w", err)
	}
	err = fsync(f)
	if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("fsync directory: %w", err)
	}
	return nil
}
