package repair

import (
	"fmt"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// rateOver is the time over which the rate of healing is taken, in so many steps.
	rateOver  = 30 * time.Second
	rateSteps = 6
)

// amount is a number of parts and their bytes.
type amount struct{ parts, bytes int64 }

func (a amount) plus(b amount) amount { return amount{a.parts + b.parts, a.bytes + b.bytes} }

// less is a without b, and no less than nothing.
func (a amount) less(b amount) amount {
	return amount{max(a.parts-b.parts, 0), max(a.bytes-b.bytes, 0)}
}

// progress counts what was made and what is left.
type progress struct {
	mu     sync.Mutex
	kinds  [kindsOfWork]work
	rate   rate
	total  amount // made since the start
	logged amount // of total, that a log line told of
	logAt  time.Time
}

// work holds what is known of one kind of work.
type work struct {
	left     amount // as far as it is counted
	since    amount // made since the count began
	blocked  string // why it does not go on, for a person; empty: it does
	failures *tally // what was tried in vain; nil: not known
}

// The kinds of work, the most urgent first.
const (
	ofFlawed  = iota // parts with a flawed copy
	ofLost           // copies on lost nodes
	ofMoved          // copies that are wished elsewhere
	ofSurplus        // surplus copies on nodes that are there
	kindsOfWork
)

// rate counts the bytes that were made lately.
type rate struct {
	steps [rateSteps + 1]int64
	at    int64 // the step that is the newest
	began time.Time
}

const rateStep = rateOver / rateSteps

// add counts bytes now.
func (r *rate) add(now time.Time, bytes int64) {
	r.turn(now)
	r.steps[r.at%int64(len(r.steps))] += bytes
}

// turn begins the steps that have come since.
func (r *rate) turn(now time.Time) {
	if r.began.IsZero() {
		r.began = now
	}
	step := int64(now.Sub(r.began) / rateStep)
	if step-r.at > int64(len(r.steps)) { // nothing happened for long: what follows is a new beginning
		*r = rate{began: now}
		return
	}
	for r.at < step {
		r.at++
		r.steps[r.at%int64(len(r.steps))] = 0
	}
}

// perSecond is the rate lately.
func (r *rate) perSecond(now time.Time) int64 {
	r.turn(now)
	var sum int64
	for _, b := range r.steps {
		sum += b
	}
	over := min(now.Sub(r.began), rateOver+now.Sub(r.began)%rateStep)
	return int64(float64(sum) / max(over.Seconds(), 1))
}

// made counts a part that is done.
func (p *progress) made(kind int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := amount{1, bytes}
	w := &p.kinds[kind]
	w.left, w.since = w.left.less(one), w.since.plus(one)
	p.rate.add(time.Now(), bytes)
	if kind != ofSurplus {
		p.total = p.total.plus(one)
	}
}

// over counts a part that needs nothing any more.
func (p *progress) over(kind int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.kinds[kind]
	w.left, w.since = w.left.less(amount{1, bytes}), w.since.plus(amount{1, bytes})
}

// beginCount begins to count what is left of a kind of work.
func (p *progress) beginCount(kind int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[kind].since = amount{}
}

// counted notes that so much of a kind of work was found since the count began, of which
// some may be made by now. Until the count is over it only adds to what was known.
func (p *progress) counted(kind int, found amount, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.kinds[kind]
	if left := found.less(w.since); over || left.parts > w.left.parts {
		w.left = left
	}
}

// fails notes what was tried in vain of a kind of work.
func (p *progress) fails(kind int, t *tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[kind].failures = t
}

// failuresOf returns what was tried in vain of a kind of work; nil: it is not known.
func (p *progress) failuresOf(kind int) *tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kinds[kind].failures
}

// leave notes how much of a kind of work is left.
func (p *progress) leave(kind int, left amount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[kind].left = left
}

// sum is all that was made.
func (p *progress) sum() amount {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// block notes why a kind of work does not go on; empty: it does. It reports whether that
// is another reason than before.
func (p *progress) block(kind int, why string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.kinds[kind].blocked != why
	p.kinds[kind].blocked = why
	return changed
}

// Progress returns how far healing is. No I/O.
func (r *Repairer) Progress() raid.HealingProgress {
	wished := r.wishedLeft()
	p := &r.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	var left amount
	out := raid.HealingProgress{BytesPerSecond: p.rate.perSecond(time.Now()), SecondsLeft: -1}
	for i := range p.kinds {
		w := &p.kinds[i]
		if i == ofMoved { // which is counted by who wishes it; what could not be made is a part of it
			left = left.plus(amount{max(w.left.parts, wished.parts), max(w.left.bytes, wished.bytes)})
		} else {
			left = left.plus(w.left)
		}
		if out.BlockedBy == "" && w.left.parts > 0 {
			out.BlockedBy = w.blocked
			if w.failures != nil {
				out.BlockedBy = r.blockedBy(w.failures)
			}
		}
	}
	out.PartsLeft, out.BytesLeft = left.parts, left.bytes
	switch {
	case left.parts == 0:
		out.BytesPerSecond, out.SecondsLeft = 0, 0
	case out.BytesPerSecond > 0:
		out.SecondsLeft = (left.bytes + out.BytesPerSecond - 1) / out.BytesPerSecond
	}
	return out
}

// wishedLeft sums up what is wished elsewhere, as far as that can be told.
func (r *Repairer) wishedLeft() (left amount) {
	for _, w := range r.cfg.Wishes {
		if w.Left != nil {
			parts, bytes := w.Left()
			left = left.plus(amount{parts, bytes})
		}
	}
	return left
}

// sayMade writes at most one line a minute about copies that were made again.
func (r *Repairer) sayMade() {
	p := &r.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.total.less(p.logged)
	if since.parts == 0 || !p.logAt.IsZero() && time.Since(p.logAt) < pacedLines {
		return
	}
	p.logAt, p.logged = time.Now(), p.total
	r.cfg.Log.Info("copies were repaired", "copies", since.parts, "bytes", since.bytes)
}

// humanBytes writes a number of bytes for a person, rounded up.
func humanBytes(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}} {
		if n >= u.size {
			tenths := (n*10 + u.size - 1) / u.size
			if tenths >= 100 || tenths%10 == 0 {
				return fmt.Sprintf("%d %s", (n+u.size-1)/u.size, u.name)
			}
			return fmt.Sprintf("%d.%d %s", tenths/10, tenths%10, u.name)
		}
	}
	return "1 MiB"
}
