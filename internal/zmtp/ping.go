package zmtp

import (
	"fmt"
	"time"
)

// ticker is when the writer looks at the peer's silence. C is nil, and never
// ready, when nothing depends on it.
type ticker struct {
	C     <-chan time.Time
	timer *time.Timer
}

func newTicker(cfg Config) *ticker {
	d := cfg.PingEvery
	if d <= 0 || cfg.PingTimeout > 0 && cfg.PingTimeout < d {
		d = cfg.PingTimeout
	}
	if d <= 0 {
		return &ticker{}
	}
	t := time.NewTimer(d)
	return &ticker{C: t.C, timer: t}
}

func (t *ticker) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// tick sends a PING to a peer that has been silent for PingEvery and gives up
// one that has been for PingTimeout.
func (c *Conn) tick(t *ticker) error {
	silent := c.SilentFor()
	if c.cfg.PingTimeout > 0 && silent >= c.cfg.PingTimeout {
		return fmt.Errorf("hear from %s: %w for %v", c.peer.Addr, ErrSilent, silent.Round(time.Millisecond))
	}
	var err error
	next := c.cfg.PingEvery
	if next > 0 {
		if silent >= next {
			// A TTL of 0: the peer need not watch us.
			c.out.scratch = appendCommand(c.out.scratch, cmdPing, []byte{0, 0})
			err = c.flush()
		} else {
			next -= silent
		}
	}
	if left := c.cfg.PingTimeout - silent; left > 0 && (next <= 0 || left < next) {
		next = left
	}
	t.timer.Reset(next)
	return err
}
