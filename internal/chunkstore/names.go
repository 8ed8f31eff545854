package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// readBatch is the number of a directory's names that are held at once.
const readBatch = 512

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isFanout tells fan-out directories from everything else.
func isFanout(name string) bool {
	return len(name) == 2 && strings.IndexByte(alphabet, name[0]) >= 0 && strings.IndexByte(alphabet, name[1]) >= 0
}

// join is path.Join for clean names.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// chunkPath returns the path of a chunk. Its name is checked before.
func chunkPath(name raid.ChunkName) string { return string(name[:2]) + "/" + string(name) }

func labPath(name string) string { return labDir + "/" + name[:2] + "/" + name }

// checkName refuses what is not a chunk name of ours, before it meets a path.
func checkName(name raid.ChunkName) error {
	if _, err := raid.ParseChunkName(name); err != nil {
		return fmt.Errorf("%q is not the name of a chunk: %w", clip(string(name)), raid.ErrInvalid)
	}
	return nil
}

// clip keeps what others send from filling a log.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// eachName calls do for every name in a directory, in no order, until do fails.
// Names that come or go meanwhile may or may not be among them.
func eachName(fsys FS, path string, do func(string) error) error {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", path, err)
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(readBatch)
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read directory %s: %w", path, err)
		}
	}
}

func readNames(fsys FS, path string) (names []string, err error) {
	err = eachName(fsys, path, func(name string) error {
		names = append(names, name)
		return nil
	})
	return names, err
}

// eachChunk calls do for every chunk in a fan-out directory. What is not a
// chunk, or lies in the wrong directory, is not ours and is passed over.
func eachChunk(fsys FS, dir string, do func(raid.ChunkName) error) error {
	return eachName(fsys, dir, func(name string) error {
		chunk := raid.ChunkName(name)
		if !strings.HasPrefix(name, dir) || checkName(chunk) != nil {
			return nil
		}
		return do(chunk)
	})
}
