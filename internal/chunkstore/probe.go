package chunkstore

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/raidpi/raidpi/internal/raid"
)

// Probe writes a small file, makes it durable and takes it away again. So a disk that takes no
// writes is known before a chunk comes. raid.ErrNoSpace and raid.ErrBusy are nobody's fault. After
// any other failure the store is read only, as after a failed write of a chunk. It is for the
// start: an idle disk is left alone.
func (s *Store) Probe() error {
	tmp := join(tmpDir, strconv.FormatInt(s.tmp.Add(1), 10))
	err := s.writeTmp(tmp, [][]byte{[]byte("Does this disk take writes?\n")})
	s.discard(tmp)
	if err == nil || errors.Is(err, raid.ErrNoSpace) || errors.Is(err, raid.ErrBusy) {
		return err
	}
	return fmt.Errorf("try the disk: %w", err)
}
