package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/wire"
)

// Config holds what a node is made of. Dial, OpenDir and Random are passed in so that a simulation
// can run nodes on a network and on disks of its own.
type Config struct {
	StateDir string
	ChunkDir string
	Reserve  int64 // bytes of ChunkDir's disk that are never used
	Zone     string
	NewDisk  bool // start with a disk that StateDir does not remember

	// Controller is the controller's address by a person's word. A zero field of it is as
	// joining has told, else as in Fallback.
	Controller, Fallback ControllerAddress
	Plaintext            wire.Plaintext // whom to speak with without TLS, as long as the node has not joined

	ControlSocket string           // path; empty: none
	Name          string           // of the machine, for people
	HostName      func() string    // the same, as it is now; nil: Name. It must not wait
	MachineID     string           // content of /etc/machine-id; empty: not known
	Now           func() time.Time // the time of day, which is only ever warned about; nil: not looked at
	Built         time.Time        // before this no clock is right

	Version string
	Log     *slog.Logger
	Random  io.Reader                                                            // of cryptographic quality
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer's
	OpenDir func(path string) (chunkstore.FS, error)                             // nil: the real directory
	Machine fs.FS                                                                // the machine's files from its root; nil: nothing is counted of wear
	Ready   func()                                                               // called once disk and control socket are open; the controller may be away
	Status  func(string)                                                         // one line for a person, when it changes
	// Watch asks the node's parts whether they move, until its context ends; nil:
	// nobody does. They never wait for the controller.
	Watch func(ctx context.Context, parts map[string]func(context.Context) error) error
}

// bufferBudget bounds the memory of all payloads together, in bytes. The controller's window
// of Stores takes 8 MiB and the part that exceeds it. The rest is for a dozen pieces on their
// way out.
const bufferBudget = 24 << 20

// statusEvery is the time between looks at the status line. It is also looked at when the
// connection to the controller changes.
const statusEvery = 5 * time.Second

// Run runs a node until ctx ends or its disk can't be used. If a person has to see to the disk
// it returns chunkstore.ErrDisk. If the disk is not there it returns chunkstore.ErrNotMounted,
// and chunkstore.ErrInUse if another node has it.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{
		ChunkDir: cfg.ChunkDir, StateDir: cfg.StateDir, NewDisk: cfg.NewDisk, Random: cfg.Random, OpenDir: cfg.OpenDir,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	d := newDaemon(&cfg, disk)
	if now, wrong := d.wrongClock(); wrong {
		cfg.Log.Warn("This Pi's clock says " + now + ", which is before this program was built. The node works all the same; only the times in its log are wrong. Fix: timedatectl")
	}
	for _, said := range d.volatile {
		cfg.Log.Warn(said)
	}
	d.listenControl()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.live(gctx) })
	g.Go(func() error { return d.serveControl(gctx) })
	g.Go(func() error { return d.watch(gctx) })
	return g.Wait()
}

// newLink makes the connection of a session. It has joined when who is there.
func (d *daemon) newLink(l *session) *wire.Link {
	cfg, place := d.cfg, d.controllerAddress()
	port := func(p int) string { return net.JoinHostPort(place.Host, strconv.Itoa(p)) }
	link := wire.LinkConfig{
		Dial: cfg.Dial, StoreAddr: port(place.StorePort), ResponseAddr: port(place.ResponsePort), RequestAddr: port(place.RequestPort),
		Plaintext: cfg.Plaintext, Node: d.disk.Node(), Array: d.disk.Array(),
		Adopt: d.disk.Adopt, Handler: &handler{l.store, d.pool}, Trash: trashHandler{l.store}, Scrub: scrubHandler{l.store, l.scrub}, Describer: describer{l.store}, Lab: labHandler{l.store}, Pool: d.pool, SawCommit: l.sawCommit,
		State: func() wire.Heartbeat { return heartbeat(l, cfg) }, RenewKey: l.askRenewal, Unwelcome: l.askMembership, Log: l.log, Random: cfg.Random,
	}
	if l.who.Load() != nil {
		link.Plaintext, link.Lab, link.Dial = wire.PlaintextOff, nil, d.dial
		link.Told = func(t wire.Told) { d.told(l, t) }
		link.TLS = func() *tls.Config { return l.who.Load().ClientTLS() }
	}
	return wire.NewLink(link)
}

// heartbeat describes the node for a heartbeat. It does no I/O: also a node whose disk hangs
// says so.
func heartbeat(l *session, cfg *Config) wire.Heartbeat {
	s := l.store.Stats()
	b := wire.Heartbeat{
		TotalBytes: s.TotalBytes, FreeBytes: s.FreeBytes, Chunks: s.Chunks, HighestCommit: s.HighestCommit, FoundCommit: s.FoundCommit,
		Proven: s.Proven, FoundProven: s.FoundProven,
		Scanned: s.Scanned, ReadOnly: s.ReadOnly, Zone: cfg.Zone, Version: cfg.Version, Name: cfg.hostName(),
		TrashChunks: s.TrashChunks, TrashBytes: s.TrashBytes,
		DiskStall: s.Stalled, Bad: s.Corrupt, Scrub: l.scrub.Progress(),
	}
	if l.wear != nil {
		b.Wear = l.wear.Wear()
	}
	return b
}

// report keeps the status line true.
func (d *daemon) report(ctx context.Context, l *session) error {
	show := d.cfg.Status
	if show == nil {
		return nil
	}
	var connection <-chan struct{}
	if l.link != nil {
		connection = l.link.Changed()
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for last := ""; ; {
		if line := l.line(); line != last {
			show(line)
			last = line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-connection:
		case <-tick.C:
		}
	}
}

// status is one line for a person: what needs one first.
func status(s chunkstore.Stats, link string) string {
	switch {
	case s.Stalled > 0:
		return fmt.Sprintf("Disk has not answered for %v: check its cable and power (journalctl -k). %s", s.Stalled.Round(time.Second), link)
	case s.ReadOnly:
		return "Disk is read only, after a failed write or as it is mounted: its chunks can be read. Check it (journalctl -k, fsck), then: sudo systemctl restart raid-node. " + link
	case s.FreeBytes == 0:
		return "Disk is full up to its reserve. " + link
	case s.Corrupt > 0:
		return fmt.Sprintf("%d corrupt chunks on the disk: it may be failing. %s", s.Corrupt, link)
	}
	return link
}
