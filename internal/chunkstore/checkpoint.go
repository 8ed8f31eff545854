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

// The highest commit number that a node has seen is the evidence of what was done with the array.
// It also tells of changes that no chunk remembers: a file was deleted, a node removed. It is kept
// in a file of one line or two. Each line ends with the CRC-32C of what is before it:
//
//	<number> <CRC>\n
//	<number> <MAC> <CRC>\n
//
// The first is the highest number, the second the highest one that came with a MAC. The file also
// spares the first heartbeat the wait for the scan of the trailers.
const (
	checkpointFile = "raid-node.commit"
	// checkpointAfter is the time from first hearing a number to writing the file, with the highest
	// until then. The file is written sooner when chunks are deleted, and not at all while no
	// number is higher.
	checkpointAfter = 3 * time.Second
	// checkpointAgain is the pause after the disk had no room for it.
	checkpointAgain = time.Minute
)

// checkpoint is the content of the file.
type checkpoint struct {
	highest uint64
	proven  raid.Commit
}

// with is the checkpoint after one more number.
func (c checkpoint) with(n raid.Commit) checkpoint {
	c.highest = max(c.highest, n.Number)
	if n.HasProof() {
		c.proven = c.proven.Higher(n)
	}
	return c
}

// commits is the highest commit number.
type commits struct {
	saving sync.Mutex // held while the file is written

	mu    sync.Mutex
	seen  checkpoint
	found checkpoint    // what lay on the disk at Open, as far as it was read
	saved checkpoint    // what the file says
	wake  chan struct{} // of 1: it says too little
}

func (c *commits) load(saved checkpoint) {
	c.seen, c.found, c.saved, c.wake = saved, saved, saved, make(chan struct{}, 1)
}

func (c *commits) get() (seen, found checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.found
}

func (c *commits) saw(n raid.Commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = c.seen.with(n)
	if c.seen != c.saved {
		c.due()
	}
}

// find notes a number that lies in a trailer.
func (c *commits) find(n raid.Commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found, c.seen = c.found.with(n), c.seen.with(n)
}

func (c *commits) due() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// unsaved returns the numbers seen; behind says that the file has others.
func (c *commits) unsaved() (seen checkpoint, behind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.seen != c.saved
}

// SawCommit tells the store of a catalog commit number, from a request or a heartbeat.
// A higher one is on disk some seconds later, and before anything is deleted.
func (s *Store) SawCommit(n raid.Commit) { s.commit.saw(n) }

// keepCheckpoint writes the file some time after a higher number was heard.
func (s *Store) keepCheckpoint(ctx context.Context) {
	for wait := checkpointAfter; ; {
		select {
		case <-s.commit.wake:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		wait = checkpointAfter
		switch err := s.saveCheckpoint(); {
		case err == nil, errors.Is(err, raid.ErrReadOnly):
		case errors.Is(err, raid.ErrNoSpace):
			wait = checkpointAgain
			s.commit.due()
		default:
			s.log.Warn("Commit number not saved", "reason", err)
		}
	}
}

// saveCheckpoint makes durable what has been heard, if the file says less. It may use
// the reserve.
func (s *Store) saveCheckpoint() error {
	if _, behind := s.commit.unsaved(); !behind {
		return nil
	}
	s.commit.saving.Lock()
	defer s.commit.saving.Unlock()
	now, behind := s.commit.unsaved()
	if !behind {
		return nil // another call has saved it
	}
	if err := s.readOnly(); err != nil {
		return fmt.Errorf("save commit number: %w", err)
	}
	if _, err := s.put(s.dirs.root, checkpointFile, 0, []byte(now.format())); err != nil {
		return fmt.Errorf("save commit number: %w", err)
	}
	s.commit.mu.Lock()
	defer s.commit.mu.Unlock()
	s.commit.saved = now
	return nil
}

// saveAfterAll is for a disk that was too full: what has been deleted since made room.
func (s *Store) saveAfterAll() {
	if err := s.saveCheckpoint(); err != nil {
		s.log.Warn("Commit number not saved", "reason", err)
		s.commit.due()
	}
}

func (c checkpoint) format() string {
	text := checked(fmt.Sprint(c.highest))
	if c.proven.HasProof() {
		text += checked(fmt.Sprintf("%d %x", c.proven.Number, c.proven.MAC))
	}
	return text
}

// checked is a line of the file.
func checked(text string) string { return fmt.Sprintf("%s %08x\n", text, raid.Checksum([]byte(text))) }

// parseCheckpoint reads what format writes. A line that is not to the bit what would be
// written says nothing; ok is false when there is one.
func parseCheckpoint(text string) (c checkpoint, ok bool) {
	first, second, _ := strings.Cut(text, "\n")
	_, err := fmt.Sscanf(first, "%d", &c.highest)
	ok = err == nil && first+"\n" == checked(fmt.Sprint(c.highest))
	if !ok {
		c.highest = 0
	}
	if second == "" {
		return c, ok
	}
	var mac []byte
	proven := checkpoint{}
	_, err = fmt.Sscanf(second, "%d %x", &proven.proven.Number, &mac)
	proven.proven.MAC = raid.CommitMACOf(mac)
	if err != nil || checked("0")+second != proven.format() {
		return c, false
	}
	c = c.with(proven.proven)
	return c, ok && c.format() == text
}

// readCheckpoint returns what the file says; what it does not is zero.
func readCheckpoint(fsys FS, log *slog.Logger) checkpoint {
	text, err := readSmall(fsys, checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint{}
	}
	c, ok := parseCheckpoint(text)
	if err != nil || !ok {
		log.Warn("Saved commit number is unreadable; what is in the trailers counts", "file", checkpointFile, "reason", err)
	}
	return c
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
