package chunkstore

import (
	"context"
)

// A new fan-out directory costs the first chunk in it a mkdir and a second fsync. While a disk is
// young nearly every chunk is the first in its directory. So all directories are made at once, with
// one fsync, when a disk turns out to be in use. On a small PC that doubles the rate of small
// chunks until there would have been a few thousand of them.
const (
	// prepareAfter is the number of chunks that this life has to write before.
	prepareAfter = 100
	// prepareRoom is the room, in bytes, that must be free beyond the reserve. The directories take
	// 16 MiB on ext4.
	prepareRoom = 1 << 30
)

// prepare makes the missing fan-out directories. What goes wrong is left to the
// writers, which make those that they need.
func (s *Store) prepare(ctx context.Context) {
	select {
	case <-s.used:
	case <-ctx.Done():
		return
	}
	if room, err := s.space.free(); err != nil || room < prepareRoom {
		return
	}
	var last *dir
	for i := range len(alphabet) {
		for j := range len(alphabet) {
			if ctx.Err() != nil || s.readOnly() != nil {
				return
			}
			d := s.dirs.get(alphabet[i:i+1] + alphabet[j:j+1])
			if d.made() {
				continue
			}
			if err := d.create(s.fs); err != nil {
				s.log.Debug("Directories are not made ahead", "reason", err)
				return
			}
			last = d
		}
	}
	if last == nil {
		return
	}
	last.mu.Lock()
	change := last.madeAt
	last.mu.Unlock()
	if err := s.dirs.root.flush(s.fs, change); err != nil {
		s.log.Debug("Directories are not made ahead", "reason", err)
	}
}

// wroteOne counts chunks until the disk is known to be in use.
func (s *Store) wroteOne() {
	if s.written.Add(1) == prepareAfter {
		close(s.used)
	}
}
