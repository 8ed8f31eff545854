package events

import (
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/allowance"
	"github.com/raidpi/raidpi/internal/raid"
)

// rates bound the events of a kind about one node that are told one by one.
var rates = map[raid.EventKind]allowance.Rate{
	raid.ChunkBad:     {Burst: 20, Every: 30 * time.Minute},
	raid.FileLost:     {Burst: 100, Every: 10 * time.Minute},
	raid.TokenMade:    {Burst: 50, Every: 30 * time.Minute},
	raid.TokenRevoked: {Burst: 50, Every: 30 * time.Minute},
	raid.LoginFailed:  {Burst: 20, Every: 30 * time.Minute},
}

var (
	usualRate = allowance.Rate{Burst: 6, Every: time.Hour}
	// kindRate bounds the events of a kind that are told, about all nodes together.
	kindRate = allowance.Rate{Burst: 100, Every: 10 * time.Minute}
)

// maxSubjects is about how many nodes and kinds it is counted separately; others of a
// kind are counted together.
const maxSubjects = 4000

// sweepEvery bounds how often it is looked which of them can be forgotten.
const sweepEvery = time.Minute

// subject is the key by which repetitions are counted.
type subject struct {
	kind raid.EventKind
	node raid.NodeID
}

// allNodes stands for a kind's events about all nodes.
const allNodes raid.NodeID = "*"

// repeats counts the events that come too often to be told one by one. It is not safe
// for concurrent use.
type repeats struct {
	of      map[subject]*repeat
	waiting map[*repeat]struct{} // those that have something to tell
	swept   time.Time            // when it was last looked what can be forgotten
}

type repeat struct {
	rate   allowance.Rate
	bucket allowance.Bucket
	last   raid.Event
	lastAt time.Time
	times  int  // not told
	kind   bool // of all nodes
}

// allow reports whether an event is to be told now. Otherwise it is counted.
func (r *repeats) allow(e raid.Event, now time.Time) bool {
	node := e.Node
	if node.IsLab() {
		node = "lab" // such a peer has another name with each connection
	}
	return r.take(subject{e.Kind, node}, e, now) && r.take(subject{e.Kind, allNodes}, e, now)
}

func (r *repeats) take(s subject, e raid.Event, now time.Time) bool {
	k := r.find(s, now)
	if k.times == 0 && k.bucket.Take(k.rate, now) {
		return true
	}
	k.times++
	k.last, k.lastAt = e, now
	r.waiting[k] = struct{}{}
	return false
}

func (r *repeats) find(s subject, now time.Time) *repeat {
	if r.of == nil {
		r.of, r.waiting = map[subject]*repeat{}, map[*repeat]struct{}{}
	}
	if k := r.of[s]; k != nil {
		return k
	}
	if len(r.of) >= maxSubjects && now.Sub(r.swept) > sweepEvery {
		r.swept = now
		r.forget(now)
	}
	if len(r.of) >= maxSubjects && s.node != allNodes {
		return r.find(subject{s.kind, allNodes}, now)
	}
	k := &repeat{rate: usualRate, kind: s.node == allNodes}
	if rate, ok := rates[s.kind]; ok {
		k.rate = rate
	}
	if k.kind {
		k.rate = kindRate
	}
	r.of[s] = k
	return k
}

// forget drops those of which nothing is known but that they exist.
func (r *repeats) forget(now time.Time) {
	for s, k := range r.of {
		if k.times == 0 && k.bucket.Full(k.rate, now) {
			delete(r.of, s)
		}
	}
}

// due returns events that sum up what was not told, in the order in which each happened last; all:
// whether or not it is time. next is the
// time until there are more, 0: there are none.
func (r *repeats) due(now time.Time, all bool) (out []raid.Event, next time.Duration) {
	var told []*repeat
	for k := range r.waiting {
		if all || k.bucket.Take(k.rate, now) {
			told = append(told, k)
			delete(r.waiting, k)
		} else if w := k.bucket.Wait(k.rate, now); next == 0 || w < next {
			next = w
		}
	}
	slices.SortFunc(told, func(a, b *repeat) int { return a.lastAt.Compare(b.lastAt) })
	for _, k := range told {
		out = append(out, k.sum())
		k.times = 0
	}
	return out, next
}

// sum is the last of the events that were not told, with how many there were.
func (k *repeat) sum() raid.Event {
	e := k.last
	switch {
	case k.times == 1:
	case k.kind:
		e.Text = fmt.Sprintf("%s (and %d more of the kind, not all about the same)", e.Text, k.times-1)
	default:
		e.Text = fmt.Sprintf("%s (%d times since this was last told)", e.Text, k.times)
	}
	return e
}
