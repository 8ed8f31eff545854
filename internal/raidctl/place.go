package raidctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/internal/client"
)

// destination is the place that a download goes to.
type destination struct {
	path   string // links are followed
	stream bool   // a device or a named pipe, which is written into
}

// isStdout tells names of standard output. What that is redirected to does not
// matter: it is written into and never replaced.
func isStdout(output string) bool {
	return slices.Contains([]string{"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, output)
}

// place looks at what is at a path. A file is overwritten only when forced. Whatever is no file is
// never replaced. Devices of characters and named pipes are written into where a person chose them,
// and all else is refused.
func (d *download) place(path string, chosen bool) (destination, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if os.IsPathSeparator(path[len(path)-1]) {
			return destination{}, fmt.Errorf("there is no folder %s", path)
		}
		return destination{path: path}, nil
	}
	at := destination{path: path}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		info, err = os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return destination{}, fmt.Errorf("%s is a link to nothing; remove it, or choose another name with --output", path)
		}
		if err == nil && info.Mode().IsRegular() { // what else /proc names may have no path
			at.path, err = filepath.EvalSymlinks(path)
		}
	}
	if err != nil {
		return destination{}, bare(err)
	}
	mode := info.Mode()
	switch {
	case mode.IsRegular() && !d.force:
		return destination{}, fmt.Errorf("%s exists; overwrite it with --force, or choose another name with --output", path)
	case mode.IsRegular():
		return at, nil
	case chosen && canStream(mode):
		at.stream = true
		return at, nil
	}
	return destination{}, fmt.Errorf("%s is %s, and not overwritten; choose another name with --output", path, kindOf(mode))
}

// canStream tells what bytes can be written into without an end.
func canStream(mode fs.FileMode) bool { return mode&(fs.ModeCharDevice|fs.ModeNamedPipe) != 0 }

// kindOf says what is no file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no file"
}

// readerPause is the time between looks whether somebody reads a named pipe.
const readerPause = 50 * time.Millisecond

// openStream opens a device or a named pipe, and waits for a pipe's reader.
func openStream(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			// It may be something else by now.
			if info, err := f.Stat(); err != nil || !canStream(info.Mode()) {
				return nil, errors.Join(fmt.Errorf("%s was replaced meanwhile", path), err, f.Close())
			}
			return f, nil
		}
		if !errors.Is(err, syscall.ENXIO) {
			return nil, bare(err)
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-time.After(readerPause):
		}
	}
}

// toStream writes a file into a device or a named pipe. What is wrong with it shows
// only at its end.
func (d *download) toStream(ctx context.Context, f client.File, at destination) (got client.Fetched, err error) {
	out, err := openStream(ctx, at.path)
	if err != nil {
		return got, err
	}
	stop := context.AfterFunc(ctx, func() { _ = out.Close() }) // whoever reads may hang
	defer func() {
		if stop() {
			err = errors.Join(err, out.Close())
		}
	}()
	m := d.meter(f.Filename, 0)
	defer m.done()
	return d.client.Download(ctx, client.Download{ID: f.ID, To: out, Progress: m.at})
}
