package catalog

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/raidpi/raidpi/internal/raid"
)

// A commit number is made of three: 27 bits of run, 12 random ones and 24 of
// counting. The first two are its epoch. The random ones tell a run from the run
// of the same number that a catalog went through before it was put back.
const (
	countBits = 24
	tagBits   = 12
	lastCount = 1<<countBits - 1
	maxRun    = 1<<27 - 1
)

// epoch is the common part of the commit numbers of one run. A run that commits
// more often than can be counted goes on with the epoch of the next.
type epoch uint64

func epochOf(commit uint64) epoch { return epoch(commit >> countBits) }

// nextRun is the run number after run. A start takes one, and so does each
// lastCount commits.
func nextRun(run uint32) (uint32, error) {
	if run >= maxRun {
		return 0, fmt.Errorf("%w: %w: all %d run numbers are used up, one by each start of raid-controller, so that nodes could not tell "+
			"its writes from earlier ones any more. Nothing is lost, but no program can go on with this catalog. See /usr/share/doc/raid-controller/catalog.md, Limits",
			ErrRefused, raid.ErrUnsupported, maxRun)
	}
	return run + 1, nil
}

// drawEpoch begins an epoch, and returns its first commit number.
func drawEpoch(run uint32, random io.Reader) (first uint64, err error) {
	var b [2]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("draw a run's tag: %w", err)
	}
	tag := uint64(binary.BigEndian.Uint16(b[:])) & (1<<tagBits - 1)
	return (uint64(run)<<tagBits|tag)<<countBits | 1, nil
}

// insertEpoch notes how far an epoch came that is over, or given up.
const insertEpoch = "INSERT INTO epoch (epoch, last) VALUES (?, ?) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)"

// loadEpochs notes how far the last epoch came, and loads how far all did.
func loadEpochs(w *conn, last uint64) (map[epoch]uint64, error) {
	if last > 0 {
		if _, err := w.exec(insertEpoch, int64(epochOf(last)), int64(last)); err != nil {
			return nil, fmt.Errorf("end the last run: %w", err)
		}
	}
	ends := map[epoch]uint64{}
	err := w.query(func(r []driver.Value) error {
		ends[epoch(integer(r[0]))] = uint64(integer(r[1]))
		return nil
	}, "SELECT epoch, last FROM epoch")
	if err != nil {
		return nil, fmt.Errorf("read earlier runs: %w", err)
	}
	return ends, nil
}

// count gives the transaction its commit number.
func (t *tx) count() error {
	last := t.meta.commit
	if last&lastCount < lastCount {
		t.meta.commit++
		return nil
	}
	var err error
	if t.meta.run, err = nextRun(t.meta.run); err != nil {
		return err
	}
	if t.meta.commit, err = drawEpoch(t.meta.run, t.random); err != nil {
		return err
	}
	t.ended = append(t.ended, last)
	_, err = t.exec(insertEpoch, int64(epochOf(last)), int64(last))
	return err
}
