package catalog

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// forgetRuns bounds how far ahead of the catalog a run may be that is given up. A
	// number that no controller can have reached must not use up those that are left.
	forgetRuns = 1 << 20
	// forgetIDs is the number of file ids that are skipped, as ones that may have been given
	// out by the catalog that is given up.
	forgetIDs = 1 << 20
)

// ForgetCommits makes a commit number known, durably, and all others of its epoch, on an operator's
// decision. What was stored under them and is not in this catalog is given up. Later runs get
// higher numbers, and ids that are higher than what the other catalog is likely to have given out.
//
// It fails with raid.ErrInvalid when the number is known already or no controller can have made it.
// Close the catalog afterwards: the present run's own numbers may be lower than what is given up.
func (c *Catalog) ForgetCommits(ctx context.Context, commit uint64) error {
	name := fmt.Sprintf("give up commit %d", commit)
	if c.Knows(commit) {
		return fmt.Errorf("%s: %w: this catalog has it; nothing is changed", name, raid.ErrInvalid)
	}
	if !c.Possible(commit) {
		return fmt.Errorf("%s: %w: no controller of this array made that number, so nothing is changed; stop the node that reports it", name, raid.ErrInvalid)
	}
	run := commit >> (countBits + tagBits)
	return c.write(ctx, &op{name: name, rows: 1, run: func(t *tx) error {
		e := epochOf(commit)
		end := uint64(e)<<countBits | lastCount
		if _, err := t.exec(insertEpoch, int64(e), int64(end)); err != nil {
			return err
		}
		t.meta.run = max(t.meta.run, uint32(run))
		t.meta.nextID += forgetIDs
		t.ended = append(t.ended, end)
		return nil
	}})
}

// Possible reports whether a controller of this array can have come to a commit number. Its
// run is one from the first to a million starts after ours, and it counts something.
// No I/O.
func (c *Catalog) Possible(commit uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	run := commit >> (countBits + tagBits)
	return run >= 1 && run <= min(maxRun, uint64(c.state.meta.run)+forgetRuns) && commit&lastCount != 0
}
