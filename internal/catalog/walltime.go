package catalog

import (
	"fmt"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// wallClock tells the time that REST tokens end by and that nodes' keys are aged by, the only
// things that the time of day decides. It never goes back. It is the clock's time, or the highest
// time that the catalog has ever noted plus what has passed since by the monotonic clock, whichever
// is later. So a token that was over stays so when a Pi starts in 1970, and one that was not ends
// when it has lasted long enough with the controller running. A clock that ran ahead can end tokens
// too early, never late.
type wallClock struct {
	read func() time.Time

	mu   sync.Mutex
	high time.Time // the highest so far
	at   time.Time // when that was, monotonic
}

// start goes on from a time that an earlier run has noted.
func (k *wallClock) start(noted string) error {
	t, err := time.Parse(time.DateTime, noted)
	if err != nil {
		return fmt.Errorf("%w: meta.latest is %.40q, which is no time", raid.ErrCorrupt, noted)
	}
	k.high, k.at = t, time.Now()
	return nil
}

// lastYear is far enough from 9999 for all that is added; a clock beyond is not
// believed.
const lastYear = "9900"

// now is the time. It is never lower than before.
func (k *wallClock) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	passed := time.Since(k.at)
	k.at = k.at.Add(passed)
	k.high = k.high.Add(passed)
	t := k.read().UTC().Round(0)
	if year := t.Format("2006"); t.After(k.high) && len(year) == len(lastYear) && year < lastYear {
		k.high = t
	}
	return k.high
}

// since returns the time since one that text has told; zero for what is no time.
func (k *wallClock) since(told string) time.Duration {
	t, err := time.Parse(time.DateTime, told)
	if err != nil {
		return 0
	}
	return max(0, k.now().Sub(t))
}

// text is now as the catalog writes times. Such texts compare as times do.
func (k *wallClock) text() string { return k.now().Format(time.DateTime) }

// parseDay reads a time that is for people alone; the zero time when it is none.
func parseDay(text string) time.Time {
	t, _ := time.Parse(time.DateTime, text)
	return t
}
