package catalog

import (
	"context"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// markAtOnce bounds the copies that one op marks, so that others get their turn.
const markAtOnce = 256

// MarkAllBad is MarkBad for many copies, which share transactions. It returns those that
// were not bad before and belong to a file or an upload under way. After an error those
// are durable that it returns.
func (c *Catalog) MarkAllBad(ctx context.Context, copies []raid.CopyID) (marked []raid.CopyID, err error) {
	for batch := range slices.Chunk(copies, markAtOnce) {
		var now []raid.CopyID
		err := c.write(ctx, &op{name: "mark bad copies", rows: 2 * len(batch), files: true, run: func(t *tx) error {
			now = now[:0]
			for _, x := range batch {
				n, err := t.markBad(int64(x.File), x.Stripe, int64(x.Part), int64(x.Index), int64(x.Attempt))
				if err != nil {
					return err
				}
				if n > 0 {
					now = append(now, x)
				}
			}
			return nil
		}})
		if err != nil {
			return marked, err
		}
		marked = append(marked, now...)
	}
	return marked, nil
}
