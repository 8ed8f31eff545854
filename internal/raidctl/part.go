package raidctl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// part is a file under way to its name.
type part struct {
	path string
	file *os.File
	have int64 // bytes that an earlier attempt left
}

// openPart opens what an earlier attempt left, or begins anew. It writes behind
// what is there.
func openPart(path string) (*part, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is in the way: it is no file", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &part{path: path, file: f, have: have}, nil
}

// restart throws away what is there.
func (p *part) restart() error {
	p.have = 0
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// keep tells where the beginning of the file waits for the next attempt.
func (p *part) keep(err error, size int64) error {
	info, statErr := p.file.Stat()
	switch {
	case statErr != nil:
		return err
	case info.Size() == 0:
		return errors.Join(err, p.remove())
	}
	return fmt.Errorf("%w. %s of %s are in %s; the same command goes on from there",
		err, humanSize(info.Size()), humanSize(size), p.path)
}

// publish gives the file its name. Without force a file that came to be there
// meanwhile is not overwritten.
func (p *part) publish(path string, force bool) error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if !force {
		err := os.Link(p.path, path)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s was made meanwhile; the file is in %s", path, p.path)
		}
		if err == nil {
			return p.remove()
		}
		// Some file systems have no links. Then a file that appears in this very
		// moment is lost.
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s became %s meanwhile; the file is in %s", path, kindOf(info.Mode()), p.path)
	}
	return os.Rename(p.path, path)
}

// remove takes the partial file away.
func (p *part) remove() error {
	return os.Remove(p.path)
}

// Close closes the file and leaves it where it is.
func (p *part) Close() error { return p.file.Close() }
