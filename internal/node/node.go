package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/wire"
)

// Config is what a node is made of. Dial, OpenDir and Random are passed in so
// that a simulation can run nodes on a network and on disks of its own.
type Config struct {
	StateDir string
	ChunkDir string
	Reserve  int64 // bytes of ChunkDir's disk that are never used
	Zone     string
	NewDisk  bool // start with a disk that StateDir does not remember

	Host                                 string // the controller's
	StorePort, ResponsePort, RequestPort int
	Plaintext                            wire.Plaintext

	Version string
	Log     *slog.Logger
	Random  io.Reader // of cryptographic quality
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	OpenDir func(path string) (chunkstore.FS, error) // nil: the real directory
	Ready   func()                                   // called once the disk is open; the controller may be away
	Status  func(string)                             // one line for a person, when it changes
}

// bufferBudget is what payloads in memory may take together, in bytes: the
// controller's window of Stores (8 MiB and the part that exceeds it), and a
// dozen pieces on their way out.
const bufferBudget = 24 << 20

// statusEvery is how often the status line is looked at.
const statusEvery = time.Second

// Run runs a node until ctx ends or its disk can't be used; then it returns
// chunkstore.ErrDisk if a person has to see to that, and chunkstore.ErrInUse if
// another node has it.
func Run(ctx context.Context, cfg Config) (err error) {
	disk, err := chunkstore.OpenDisk(chunkstore.DiskConfig{
		ChunkDir: cfg.ChunkDir, StateDir: cfg.StateDir, NewDisk: cfg.NewDisk, Random: cfg.Random, OpenDir: cfg.OpenDir,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	log := cfg.Log.With("node", disk.Node())
	pool := budget.New(bufferBudget)
	store, err := chunkstore.Open(chunkstore.Config{FS: disk.FS, Reserve: cfg.Reserve, Array: disk.Array, Pool: pool, Log: log})
	if err != nil {
		return fmt.Errorf("open the chunk store in %s: %w", cfg.ChunkDir, err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	link := newLink(&cfg, disk, store, pool, log)
	if cfg.Ready != nil {
		cfg.Ready()
	}
	log.Info("raid-node is ready", "chunk_dir", cfg.ChunkDir, "array", disk.Array(), "version", cfg.Version)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return link.Run(gctx) })
	g.Go(func() error { return report(gctx, link, store, cfg.Status) })
	return g.Wait()
}

func newLink(cfg *Config, disk *chunkstore.Disk, store *chunkstore.Store, pool *budget.Pool, log *slog.Logger) *wire.Link {
	port := func(p int) string { return net.JoinHostPort(cfg.Host, strconv.Itoa(p)) }
	return wire.NewLink(wire.LinkConfig{
		Dial: cfg.Dial, StoreAddr: port(cfg.StorePort), ResponseAddr: port(cfg.ResponsePort), RequestAddr: port(cfg.RequestPort),
		Plaintext: cfg.Plaintext, Node: disk.Node(), Array: disk.Array(),
		Adopt: disk.Adopt, Handler: &handler{store, pool}, Lab: labHandler{store}, Pool: pool, SawCommit: store.SawCommit,
		Beat: func() wire.Beat { return beat(store, cfg) }, Log: log, Random: cfg.Random,
	})
}

// beat describes the node for a heartbeat. It does no I/O but the store's cached
// look at its file system.
func beat(store *chunkstore.Store, cfg *Config) wire.Beat {
	s := store.Stats()
	return wire.Beat{
		TotalBytes: s.TotalBytes, FreeBytes: s.FreeBytes, Chunks: s.Chunks, HighestCommit: s.HighestCommit, FoundCommit: s.FoundCommit,
		Scanned: s.Scanned, ReadOnly: s.ReadOnly, Zone: cfg.Zone, Version: cfg.Version,
	}
}

// report keeps the status line true.
func report(ctx context.Context, link *wire.Link, store *chunkstore.Store, show func(string)) error {
	if show == nil {
		return nil
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for last := ""; ; {
		if line := status(store.Stats(), link.Status()); line != last {
			show(line)
			last = line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// status is one line for a person: what needs one first.
func status(s chunkstore.Stats, link string) string {
	switch {
	case s.ReadOnly:
		return "Disk is read only after a failed write: check it (dmesg, fsck), then restart raid-node. " + link
	case s.FreeBytes == 0:
		return "Disk is full up to its reserve. " + link
	case s.Corrupt > 0:
		return fmt.Sprintf("%d corrupt chunks on the disk: it may be failing. %s", s.Corrupt, link)
	}
	return link
}
