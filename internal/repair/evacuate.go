package repair

import (
	"context"
	"fmt"
)

// evacuatePass marks what removed nodes held bad, a little at a time between other
// writes, so that repairPass makes it anew meanwhile. It goes on where a pass that
// failed has ended.
func (r *Repairer) evacuatePass(ctx context.Context) (left bool, err error) {
	if r.isStale() {
		return false, nil
	}
	if !r.mayWork() {
		return true, nil
	}
	for more := true; more; {
		before := r.lost
		if r.lost, more, err = r.cfg.Losses.MarkLost(ctx, before, lostRows); err != nil {
			return true, fmt.Errorf("mark the chunks of removed nodes: %w", err)
		}
		if before.Node != r.lost.Node || r.lost.Marked > before.Marked {
			wake(r.wakeRepair)
		}
	}
	return false, nil
}
