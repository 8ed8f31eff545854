package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// The truth about the highest commit number are the trailers, and reading all of
// them takes a while. So that a node knows it from the first heartbeat on, it is
// kept in a file of one line, "<number> <CRC-32C of the number's digits>\n". The
// file may be missing or behind; the scan corrects that.
const (
	checkpointFile = "raid-node.commit"
	// checkpointEvery is how often the file is written while chunks are; it is not
	// when none are.
	checkpointEvery = 5 * time.Second
)

// commits is the highest commit number.
type commits struct {
	mu      sync.Mutex
	highest uint64
	found   uint64        // highest on the disk at Open, as far as it was read
	saved   uint64        // what the file says
	wake    chan struct{} // a chunk was written
}

func (c *commits) get() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

func (c *commits) saw(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.highest = max(c.highest, n)
}

// find notes a number that lies on the disk.
func (c *commits) find(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found, c.highest = max(c.found, n), max(c.highest, n)
}

// onDisk is the highest number found so far.
func (c *commits) onDisk() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found
}

// wrote says that a chunk was written.
func (c *commits) wrote() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// SawCommit tells the store of a catalog commit number, from a request or a
// heartbeat. It writes nothing: the number reaches the disk with the next chunk.
func (s *Store) SawCommit(n uint64) { s.commit.saw(n) }

// keepCheckpoint writes the file some time after a chunk was written.
func (s *Store) keepCheckpoint(ctx context.Context) {
	for {
		select {
		case <-s.commit.wake:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(checkpointEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if s.readOnly() != nil {
			continue
		}
		if err := s.saveCheckpoint(); err != nil && !errors.Is(err, raid.ErrNoSpace) {
			s.log.Warn("Commit number not saved; the next start finds it in the trailers", "reason", err)
		}
	}
}

// saveCheckpoint writes the file if it is behind.
func (s *Store) saveCheckpoint() error {
	s.commit.mu.Lock()
	n, saved := s.commit.highest, s.commit.saved
	s.commit.mu.Unlock()
	if n == saved {
		return nil
	}
	if _, err := s.durably(s.dirs.root, checkpointFile, 0, []byte(formatCheckpoint(n))); err != nil {
		return fmt.Errorf("save commit number: %w", err)
	}
	s.commit.mu.Lock()
	s.commit.saved = n
	s.commit.mu.Unlock()
	return nil
}

func formatCheckpoint(n uint64) string {
	digits := fmt.Sprint(n)
	return fmt.Sprintf("%s %08x\n", digits, raid.Checksum([]byte(digits)))
}

// parseCheckpoint reads what formatCheckpoint writes, and nothing else: a number
// that is too high by a flipped bit would stop the whole array.
func parseCheckpoint(text string) (n uint64, ok bool) {
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
		return 0, false
	}
	return n, text == formatCheckpoint(n)
}

// readCheckpoint returns the number in the file, twice, or zeros.
func readCheckpoint(fsys FS, log *slog.Logger) (highest, saved uint64) {
	text, err := readSmall(fsys, checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0
	}
	n, ok := parseCheckpoint(text)
	if err != nil || !ok {
		log.Warn("Saved commit number is unreadable and will be found in the trailers", "file", checkpointFile, "reason", err)
		return 0, 0
	}
	return n, n
}

// smallFile bounds the files that readSmall reads.
const smallFile = 64 << 10

// readSmall reads a small file.
func readSmall(fsys FS, name string) (string, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, io.NewSectionReader(f, 0, smallFile)); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return b.String(), nil
}
