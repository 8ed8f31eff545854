package zmtp

import (
	"fmt"
	"time"
)

// ticker tells when to look at the peer's silence. C is nil, and never ready,
// when nothing depends on it.
type ticker struct {
	C     <-chan time.Time
	timer *time.Timer
	from  time.Time
}

func newTicker(cfg *Config) *ticker {
	if cfg.PingEvery <= 0 && cfg.PingTimeout <= 0 {
		return &ticker{}
	}
	t := &ticker{from: cfg.TimersFrom}
	if t.from.IsZero() {
		t.from = time.Now()
	}
	t.timer = time.NewTimer(t.until(cfg, 0))
	t.C = t.timer.C
	return t
}

// until is the time until the next look at a peer that has been silent for so long.
func (t *ticker) until(cfg *Config, silent time.Duration) time.Duration {
	left := cfg.PingTimeout - silent
	if cfg.PingEvery <= 0 {
		return left
	}
	next := cfg.PingEvery - time.Since(t.from)%cfg.PingEvery
	if left > 0 {
		next = min(next, left)
	}
	return next
}

func (t *ticker) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// tick has a PING sent to a peer that is silent, and gives up one that has been so for PingTimeout.
// It does not give up a peer that was not asked in that time, or only just now, since a message was
// written meanwhile.
func (c *Conn) tick(t *ticker) error {
	heard := c.Heard()
	silent := time.Since(heard)
	asked := c.cfg.PingEvery <= 0 || c.out.commands.owedFor(heard) >= c.cfg.PingTimeout/4
	if c.cfg.PingTimeout > 0 && silent >= c.cfg.PingTimeout && asked {
		return fmt.Errorf("hear from %s: %w for %v", c.peer.Addr, ErrSilent, silent.Round(time.Millisecond))
	}
	if c.cfg.PingEvery > 0 && silent >= c.cfg.PingEvery/4*3 {
		c.out.commands.setPing()
	}
	t.timer.Reset(t.until(&c.cfg, silent))
	return nil
}
