package scrub

import (
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// speed measures the speed of the last while.
type speed struct {
	at    time.Time // of the last look; zero: there was none
	bytes int64     // then
	rate  float64   // bytes in a second; 0: not known yet
}

// speedEvery is the time between two looks, of which the last ones count most.
const speedEvery = 2 * time.Second

// measure takes a look, if it is time to.
func (s *speed) measure(bytes int64) {
	took := time.Since(s.at)
	switch {
	case s.at.IsZero():
		s.at, s.bytes = time.Now(), bytes
		return
	case took < speedEvery:
		return
	}
	now := float64(bytes-s.bytes) / took.Seconds()
	if s.rate > 0 {
		now = 0.7*s.rate + 0.3*now
	}
	s.at, s.bytes, s.rate = time.Now(), bytes, now
}

// Progress says how far the scrub is. It does no I/O.
func (s *Scrubber) Progress() raid.Scrub {
	all := s.cfg.Chunks()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rec
	if r == nil || !r.Told {
		return raid.Scrub{Read: s.read}
	}
	p := raid.Scrub{State: raid.ScrubWaiting, Pass: r.Pass, Read: s.read, Left: -1}
	if r.Running {
		p.State = raid.ScrubRunning
		p.Chunks, p.Bytes, p.Bad = r.Chunks, r.Bytes, r.Bad
		p.OfChunks = max(all, r.Chunks)
		p.OfBytes = r.Bytes + int64(float64(p.OfChunks-r.Chunks)*r.average())
		p.BytesPerSecond = int64(s.speed.rate)
		if p.BytesPerSecond > 0 {
			p.Left = time.Duration((p.OfBytes-p.Bytes)/p.BytesPerSecond) * time.Second
		}
	} else if r.Every > 0 {
		p.Next = s.untilDue()
	}
	if r.Paused {
		p.State, p.BytesPerSecond, p.Left, p.Next = raid.ScrubPaused, 0, -1, 0
	}
	if l := r.Last; l.Number > 0 {
		ago := func(at int64) time.Duration { return time.Duration(s.clock()-at) * time.Second }
		p.Last = raid.ScrubPass{Number: l.Number, Began: ago(l.Began), Ended: ago(l.Ended), BeganAt: l.BeganAt, Chunks: l.Chunks, Bytes: l.Bytes, Bad: l.Bad}
	}
	return p
}

// enough is the number of chunks that tell the size of those that were not read yet.
const enough = 100

// average is the likely length of a chunk in bytes, of those that were not read yet.
func (r *record) average() float64 {
	switch {
	case r.Last.Chunks > 0 && r.Chunks < enough:
		return float64(r.Last.Bytes) / float64(r.Last.Chunks)
	case r.Chunks > 0:
		return float64(r.Bytes) / float64(r.Chunks)
	}
	return 0
}
