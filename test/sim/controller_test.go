package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/controller"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// stripeSize makes parts of two blocks, so that a file of a few hundred kilobytes has
// several of everything.
const stripeSize = 192 << 10

// boss is the machine that runs the controller.
type boss struct {
	w       *world
	dir     string
	disk    *catalogDisk
	lives   int
	running bool
	backAt  int64
	stop    context.CancelFunc
	done    chan struct{}
	err     error
	ready   chan struct{}
	token   string // of an administrator
}

func newBoss(w *world) *boss {
	b := &boss{w: w, dir: filepath.Join(w.dir, "controller")}
	b.disk = disks.add(b.dir, func() { w.net.setDown("controller", true) })
	var err error
	if b.token, err = b.prepare(); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// prepare makes a catalog that knows a token of an administrator. There is no socket of
// the system's in a run over which one could be had.
func (b *boss) prepare() (token string, err error) {
	random := newChance(b.w.seed, "controller", 0)
	c, err := catalog.Open(context.Background(), catalog.Config{Path: filepath.Join(b.dir, controller.CatalogFile), Random: random})
	if err != nil {
		return "", err
	}
	id, token, sum, err := raid.NewAccessToken(random)
	if err == nil {
		_, err = c.CreateToken(context.Background(), raid.AccessToken{ID: id, Name: "simulation", Scope: raid.ScopeAdmin, SHA256: sum}, 0)
	}
	return token, errors.Join(err, c.Close())
}

func (b *boss) start() {
	b.lives++
	b.running, b.backAt = true, 0
	b.w.net.setDown("controller", false)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.done, b.ready = cancel, make(chan struct{}), make(chan struct{})
	random := newChance(b.w.seed, "controller", b.lives)
	ready := b.ready
	cfg := controller.Config{
		StateDir: b.dir, HTTPListen: "controller:9000", HTTPPlain: wire.PlaintextAny,
		StoreListen: "controller:5557", ResponseListen: "controller:5558", RequestListen: "controller:5559",
		Plaintext: wire.PlaintextAny, Settle: 2 * time.Second, Level: "raid1", Copies: 2, StripeSize: stripeSize,
		MaxWholeFile: 1 << 20, DegradedWrites: true, Grace: grace, TrashKeep: time.Minute, ScrubEvery: scrubEvery, Version: "simulated",
		Log: b.w.log.With("pi", "controller"), Random: random, Draw: random.draw, Listen: b.w.net.listen,
		Machine: func() (string, []netip.Addr) { return "controller", nil }, Ready: func() { close(ready) },
	}
	go func() {
		defer close(b.done)
		b.err = controller.Run(ctx, cfg)
	}()
}

// crash takes the machine's power, or kills the process.
func (b *boss) crash(l loss, rng *rand.Rand) error {
	b.running = false
	b.disk.cut()
	b.stop()
	<-b.done
	return b.disk.recover(l, rng)
}

// end stops the controller as systemd does.
func (b *boss) end() error {
	b.running = false
	b.stop()
	<-b.done
	b.w.net.setDown("controller", true)
	return b.err
}

func (b *boss) crashed() bool {
	b.disk.mu.Lock()
	defer b.disk.mu.Unlock()
	return b.running && b.disk.off
}

func (b *boss) ended() bool {
	select {
	case <-b.done:
		return b.running
	default:
		return false
	}
}
