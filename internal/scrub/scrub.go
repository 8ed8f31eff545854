package scrub

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

// Disk is the disk to read. chunkstore.Store is one.
type Disk interface {
	Names(ctx context.Context, after raid.ChunkName, limit int) (names []raid.ChunkName, more bool, err error)
	CheckChunk(ctx context.Context, name raid.ChunkName, turn chunkstore.Turn) (bytes int64, err error)
	ScrubRecord() (string, error)
	SaveScrubRecord(text string) error
}

// Config holds what a Scrubber is made of.
type Config struct {
	Disk     Disk
	ID       string               // of the disk's chunks: a record with another one is not theirs
	QuietFor func() time.Duration // since the last request ended; 0: one is under way
	Chunks   func() int64         // how many there are, for people
	Now      func() time.Time     // the time of day, for people; nil: not known
	Log      *slog.Logger
}

const (
	// saveEvery is the least time between two writes of the record in one life.
	saveEvery = 3 * time.Minute
	// saveEndEvery is the least time between two ends of passes that are written at once. The
	// controller hears of an end with the next heartbeat. A node that forgot it after a cut would tell
	// the pass before once more, as news.
	saveEndEvery = time.Hour
	// shortest is the least time between the beginnings of two passes.
	shortest = 10 * time.Second
	// cutOff divides the time between passes. A life that ended without a word counts for that part
	// of it.
	cutOff = 8
	// page is the number of names that are held at once, for some 200 KiB.
	page = 4096
	// again is the pause after the disk failed in a way that says nothing of a chunk. tries is the
	// number of tries of a chunk before the next one is read.
	again = time.Minute
	tries = 3
)

// Scrubber reads all chunks of a disk. Its methods may be called concurrently.
type Scrubber struct {
	cfg     Config
	opened  time.Time
	changed chan struct{} // of 1: order or start did
	pace    pace
	failed  int // times that the chunk after rec.After was tried in vain

	mu     sync.Mutex
	order  *raid.ScrubOrder // told and not taken over yet
	start  bool             // a person wants a pass now
	rec    *record          // nil: not read yet. Changed by Run alone
	base   int64            // rec.Clock at opened
	dirty  bool             // the file says less than rec
	saved  time.Time        // zero: not in this life, or it is to be now
	turned time.Time        // when an order last had it saved at once
	ended  time.Time        // when the end of a pass did
	speed  speed
	read   int64 // bytes, since the start
}

// New makes a Scrubber; Run does its work.
func New(cfg Config) *Scrubber {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Scrubber{cfg: cfg, opened: time.Now(), changed: make(chan struct{}, 1), pace: pace{quietFor: cfg.QuietFor}}
}

// Order takes over what the controller tells. It does not wait.
func (s *Scrubber) Order(o raid.ScrubOrder) {
	s.mu.Lock()
	s.order = &o
	s.mu.Unlock()
	s.wake()
}

// Start has a pass begin now, if none is under way. It does not wait.
func (s *Scrubber) Start() {
	s.mu.Lock()
	s.start = true
	s.mu.Unlock()
	s.wake()
}

func (s *Scrubber) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. It must have a goroutine of its own.
func (s *Scrubber) Run(ctx context.Context) {
	ownThread()
	s.load(ctx)
	for ctx.Err() == nil {
		s.saveIfDue()
		wait, due := s.next()
		if due {
			s.goOn(ctx)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.mu.Lock()
	s.rec.Closed = true
	s.mu.Unlock()
	s.save()
}

// load reads the record. Without one that is right, chunks that lie there already are
// read at once: nobody knows when they last were.
func (s *Scrubber) load(ctx context.Context) {
	text, err := s.cfg.Disk.ScrubRecord()
	fresh := &record{Disk: s.cfg.ID, Pass: 1}
	rec := fresh
	if err == nil && text != "" {
		var found *record
		if found, err = parseRecord(text); err == nil && found.Disk == s.cfg.ID {
			rec = found
		}
	}
	if err != nil {
		s.cfg.Log.Warn("How far the scrub was is not known; it begins anew", "reason", err)
	}
	switch {
	case rec == fresh:
		names, _, err := s.cfg.Disk.Names(ctx, "", 1)
		rec.Running = err == nil && len(names) > 0
	case !rec.Closed:
		rec.Clock += rec.Every / cutOff
	}
	rec.Closed = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec, s.base, s.dirty = rec, rec.Clock, true
}

// clock returns for how many seconds the node has run. mu is held.
func (s *Scrubber) clock() int64 { return s.base + int64(time.Since(s.opened)/time.Second) }

// next takes over what was told. It reports whether a pass is to go on, or else how long
// nothing is to be done.
func (s *Scrubber) next() (wait time.Duration, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rec
	if o := s.order; o != nil {
		s.order = nil
		every := int64(o.Every / time.Second)
		if !r.Told || r.Every != every || r.Paused != o.Paused {
			r.Told, r.Every, r.Paused = true, every, o.Paused
			s.dirty = true
			if s.turned.IsZero() || time.Since(s.turned) >= saveEvery { // a person did that
				s.turned, s.saved = time.Now(), time.Time{}
			}
		}
	}
	wait = 24 * time.Hour // as good as for ever
	if s.dirty {
		wait = saveEvery - time.Since(s.saved)
	}
	if s.start && !r.Running {
		s.begin()
	}
	s.start = false
	if !r.Told || r.Paused {
		return max(wait, 0), false
	}
	if left := s.untilDue(); !r.Running && r.Every > 0 {
		if left > 0 {
			return max(min(wait, left), 0), false
		}
		s.begin()
	}
	return max(wait, 0), r.Running
}

// untilDue is the time until the next pass begins by itself. mu is held.
func (s *Scrubber) untilDue() time.Duration {
	every := max(time.Duration(s.rec.Every)*time.Second, shortest)
	return max(0, every-time.Duration(s.clock()-s.rec.Began)*time.Second)
}

// begin begins a pass. mu is held.
func (s *Scrubber) begin() {
	r := s.rec
	r.Running, r.Began, r.BeganAt, r.After, r.Chunks, r.Bytes, r.Bad = true, s.clock(), s.now(), "", 0, 0, 0
	s.dirty = true
}

func (s *Scrubber) now() int64 {
	if s.cfg.Now == nil {
		return 0
	}
	return max(0, s.cfg.Now().Unix())
}

// goOn goes on with a pass until it ends, or something else is to be done.
func (s *Scrubber) goOn(ctx context.Context) {
	s.mu.Lock()
	s.speed = speed{at: time.Now(), bytes: s.read}
	s.mu.Unlock()
	for {
		if _, err := s.pace.turn(ctx); err != nil {
			return
		}
		names, more, err := s.cfg.Disk.Names(ctx, s.after(), page)
		if err != nil {
			s.trouble(ctx, err)
			return
		}
		for _, name := range names {
			if !s.check(ctx, name) {
				return
			}
			s.saveIfDue()
			if _, due := s.next(); !due {
				return
			}
		}
		if !more {
			s.end()
			return
		}
	}
}

func (s *Scrubber) after() raid.ChunkName {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec.After
}

// check checks a chunk. It reports whether the next one may be.
func (s *Scrubber) check(ctx context.Context, name raid.ChunkName) bool {
	n, err := s.cfg.Disk.CheckChunk(ctx, name, s.pace.turn)
	bad := errors.Is(err, raid.ErrCorrupt) || errors.Is(err, raid.ErrUnsupported)
	switch {
	case err == nil, bad, errors.Is(err, raid.ErrNotFound):
	case ctx.Err() != nil:
		return false
	default:
		if s.failed++; s.failed < tries {
			s.trouble(ctx, err)
			return false
		}
		s.cfg.Log.Warn("A chunk could not be read, and is left out this time", "chunk", string(name), "reason", err)
		bad = true
	}
	s.failed = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rec
	r.After = name
	s.dirty = true
	if !errors.Is(err, raid.ErrNotFound) {
		r.Chunks++
	}
	if bad {
		r.Bad++
	}
	r.Bytes += n
	s.read += n
	s.speed.measure(s.read)
	return true
}

// trouble waits until the disk may be better.
func (s *Scrubber) trouble(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.cfg.Log.Warn("The scrub can't read the disk now; it tries again", "reason", err)
	s.mu.Lock()
	s.speed = speed{}
	s.mu.Unlock()
	if sleep(ctx, again) != nil {
		return // the caller sees that as well
	}
}

// end ends a pass.
func (s *Scrubber) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rec
	r.Last = ended{Number: r.Pass, Began: r.Began, BeganAt: r.BeganAt, Ended: s.clock(), Chunks: r.Chunks, Bytes: r.Bytes, Bad: r.Bad}
	r.Running, r.After, r.Pass = false, "", r.Pass+1
	s.dirty = true
	if s.ended.IsZero() || time.Since(s.ended) >= saveEndEvery {
		s.ended, s.saved = time.Now(), time.Time{}
	}
	s.cfg.Log.Info("All chunks were read", "chunks", r.Chunks, "bytes", r.Bytes, "bad", r.Bad, "seconds", r.Last.Ended-r.Last.Began)
}

// saveIfDue writes the record if that says less than there is to say, and not too often.
func (s *Scrubber) saveIfDue() {
	s.mu.Lock()
	due := s.dirty && (s.saved.IsZero() || time.Since(s.saved) >= saveEvery)
	s.mu.Unlock()
	if due {
		s.save()
	}
}

func (s *Scrubber) save() {
	s.mu.Lock()
	s.rec.Clock = s.clock()
	text := s.rec.format()
	s.dirty, s.saved = false, time.Now()
	s.mu.Unlock()
	if err := s.cfg.Disk.SaveScrubRecord(text); err != nil {
		s.cfg.Log.Debug("How far the scrub is could not be saved", "reason", err)
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
}
