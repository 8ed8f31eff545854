package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/wire"
)

// diskSize is the size that a node's disk is said to have, in bytes. Below 1 GiB a node makes no
// fan-out directories ahead, which would cost more than the rest of a run.
const diskSize = 512 << 20

// pi is a machine that runs a node.
type pi struct {
	w     *world
	name  string // of the machine
	dir   string
	lives int
	gone  bool // for good

	removed bool          // from the array
	offAt   time.Duration // of the run: when it was found down last
	awayAt  time.Duration // the same, but that lives too short to join the array count as none
	onAt    time.Duration // when it was switched on last
	cutAt   atomic.Int64  // nanoseconds of the run: when its power went at a write

	fs      atomic.Pointer[faultfs.FS]
	running bool
	backAt  int64 // nanoseconds of the run at which it is switched on again; 0: it runs
	stop    context.CancelFunc
	done    chan struct{}
	err     error

	cutIn   atomic.Int64 // changes until the power goes; 0: it does not
	failIn  atomic.Int64 // the same of the next change that fails
	armed   bool         // its disk was told to fail in this life
	full    atomic.Bool
	unread  atomic.Bool // reads fail
	rottens map[string]bool
}

func (p *pi) chunkDir() string { return filepath.Join(p.dir, "chunks") }

// start switches the machine on.
func (p *pi) start() {
	p.lives++
	p.cutIn.Store(0)
	p.failIn.Store(0)
	p.unread.Store(false)
	p.armed = false
	p.running, p.backAt, p.onAt = true, 0, p.w.now()
	p.w.net.setDown(p.name, false)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.done = cancel, make(chan struct{})
	random := newChance(p.w.seed, p.name, p.lives)
	cfg := node.Config{
		StateDir: filepath.Join(p.dir, "state"), ChunkDir: p.chunkDir(), Plaintext: wire.PlaintextAny, Name: p.name,
		Controller: node.ControllerAddress{Host: "controller", HTTPPort: 9000, StorePort: 5557, ResponsePort: 5558, RequestPort: 5559},
		Version:    "simulated", Log: p.w.log.With("pi", p.name), Random: random, Dial: p.w.net.dialer(p.name), OpenDir: p.open, Ready: func() {},
	}
	go func() {
		defer close(p.done)
		p.err = node.Run(ctx, cfg)
	}()
}

// open is node.Config.OpenDir.
func (p *pi) open(path string) (chunkstore.FS, error) {
	fs, err := faultfs.New(path)
	if err != nil {
		return nil, err
	}
	p.fs.Store(fs)
	p.setFull(p.full.Load())
	fs.OnCall(func(c faultfs.Call) error { return p.onCall(fs, c) })
	return fs, nil
}

func (p *pi) setFull(full bool) {
	p.full.Store(full)
	if fs := p.fs.Load(); fs != nil {
		u := chunkstore.Usage{Total: diskSize, Free: diskSize}
		if full {
			u.Free = 0
		}
		fs.SetUsage(&u)
	}
}

// onCall decides for each call of the file system whether it fails. It is the node's
// own goroutine that asks.
func (p *pi) onCall(fs *faultfs.FS, c faultfs.Call) error {
	if c.Op == faultfs.Open || c.Op == faultfs.Read {
		if p.unread.Load() && c.Op == faultfs.Read {
			return &os.PathError{Op: "read", Path: c.Path, Err: syscall.EIO}
		}
		return nil
	}
	if p.cutIn.Load() > 0 && p.cutIn.Add(-1) == 0 {
		fs.CutPower()
		p.cutAt.Store(int64(p.w.now()))
		p.w.net.setDown(p.name, true)
		return faultfs.ErrPower
	}
	if p.full.Load() && (c.Op == faultfs.Write || c.Op == faultfs.Create || c.Op == faultfs.Mkdir) {
		return &os.PathError{Op: string(c.Op), Path: c.Path, Err: syscall.ENOSPC}
	}
	if p.failIn.Load() > 0 && p.failIn.Add(-1) == 0 {
		return &os.PathError{Op: string(c.Op), Path: c.Path, Err: syscall.EIO}
	}
	return nil
}

// crashed reports whether the power went at a write.
func (p *pi) crashed() bool {
	fs := p.fs.Load()
	return p.running && fs != nil && fs.Off()
}

// ended reports whether the node has ended by itself.
func (p *pi) ended() bool {
	select {
	case <-p.done:
		return p.running
	default:
		return false
	}
}

// crash takes the machine's power, or kills its process, and leaves its disk as it is
// found then.
func (p *pi) crash(l loss, rng *rand.Rand) error {
	fs, at := p.fs.Load(), p.w.now()
	if fs != nil && fs.Off() {
		at = time.Duration(p.cutAt.Load())
	} else if fs != nil {
		fs.CutPower()
	}
	p.isOff(at)
	p.w.net.setDown(p.name, true)
	p.stop()
	<-p.done
	if fs == nil {
		return nil
	}
	p.fs.Store(nil)
	switch l {
	case lostAll:
		return fs.Recover(faultfs.Everything())
	case lostSome:
		return fs.Recover(faultfs.Some(rng.Uint64()))
	}
	return fs.Close()
}

// isOff notes when the machine went down.
func (p *pi) isOff(at time.Duration) {
	p.running, p.offAt = false, at
	if at-p.onAt > notice {
		p.awayAt = at
	}
}

// end stops the node as systemd does.
func (p *pi) end() error {
	if !p.running {
		return nil
	}
	p.isOff(p.w.now())
	p.stop()
	<-p.done
	p.w.net.setDown(p.name, true)
	if fs := p.fs.Swap(nil); fs != nil {
		_ = fs.Close() // where the node did not get so far
	}
	if errors.Is(p.err, context.Canceled) {
		return nil
	}
	return p.err
}

// chance is the randomness of one life of a machine.
type chance struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

func newChance(seed uint64, words ...any) *chance {
	var key [32]byte
	for i := range 4 {
		n := mix(append(words, seed, i)...)
		for j := range 8 {
			key[8*i+j] = byte(n >> (8 * j))
		}
	}
	return &chance{rng: rand.NewChaCha8(key)}
}

var _ io.Reader = (*chance)(nil)

// Read implements io.Reader.
func (c *chance) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Read(b)
}

// draw is a number below n.
func (c *chance) draw(n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return rand.New(c.rng).Int64N(n)
}

// recorder keeps a run's log, for when it fails.
type recorder struct {
	mu    sync.Mutex
	lines []string
	w     *world
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%12.6f %s", r.w.now().Seconds(), b))
	return len(b), nil
}

func newLog(w *world, level slog.Level) *slog.Logger {
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(w.recorder, &slog.HandlerOptions{Level: level, ReplaceAttr: drop}))
}
