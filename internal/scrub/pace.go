package scrub

import (
	"context"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// idleAfter is the time without a request after which the scrub reads as fast as it can. People
	// click every few seconds.
	idleAfter = 2 * time.Second
	// restFactor is the rest of the scrub after a piece while requests come, as a multiple of the
	// time that the piece took. The scrub then has 5 % of the disk's time.
	restFactor = 19
	restLeast  = 5 * time.Millisecond
	restMost   = 5 * time.Second
	// looks is the number of looks meanwhile whether the request under way has ended.
	looks = 20

	// A request that comes while a piece is read waits for it. On an SD card it waits 3 ms for
	// largePiece, what cat(1) reads at once.
	largePiece = 2 * raid.BlockSize
	smallPiece = raid.BlockSize
)

// pace says when the scrub may use the disk. It is for one goroutine.
type pace struct {
	quietFor func() time.Duration // since the last request ended; 0: one is under way
	began    time.Time            // the piece before
}

// turn returns when the next piece may be read, and its size. It is a chunkstore.Turn.
func (p *pace) turn(ctx context.Context) (bytes int, err error) {
	defer func() { p.began = time.Now() }()
	if p.quietFor() >= idleAfter {
		return largePiece, ctx.Err()
	}
	rest := restLeast
	if !p.began.IsZero() {
		rest = min(max(restFactor*time.Since(p.began), restLeast), restMost)
	}
	if err := sleep(ctx, rest); err != nil {
		return 0, err
	}
	// A gap between two requests is better still, but not waited for endlessly.
	for left := looks; left > 0 && p.quietFor() == 0; left-- {
		if err := sleep(ctx, rest/looks); err != nil {
			return 0, err
		}
	}
	return smallPiece, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
