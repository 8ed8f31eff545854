package repair

import (
	"context"
	"fmt"
)

// losePass marks what removed nodes held bad, a little at a time between other
// writes, so that mendPass makes it anew meanwhile. It goes on where a pass that
// failed has ended.
func (r *Repairer) losePass(ctx context.Context) (left bool, err error) {
	if r.cfg.Nodes.Behind() != nil {
		return false, nil
	}
	if r.cfg.Nodes.Gathering() > 0 {
		return true, nil
	}
	for more := true; more; {
		before := r.lost
		if r.lost, more, err = r.cfg.Losses.MarkLost(ctx, before, lostRows); err != nil {
			return true, fmt.Errorf("mark the chunks of removed nodes: %w", err)
		}
		if before.Node != r.lost.Node || r.lost.Marked > before.Marked {
			wake(r.mend)
		}
	}
	return false, nil
}
