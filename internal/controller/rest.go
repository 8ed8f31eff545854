package controller

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/raid"
)

// drainTime bounds the time for which requests under way may go on when the controller ends. The
// service manager waits for 45 s.
const drainTime = 30 * time.Second

// newAPI fits the REST API to the parts below it.
func (c *Controller) newAPI() *httpapi.API {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics{c}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	maxFile := int64(0)
	if c.cfg.StripeSize == 0 {
		maxFile = c.cfg.MaxWholeFile
	}
	started := time.Now()
	return httpapi.New(httpapi.Config{
		Files: fileStore{c.objects}, Levels: c.cfg.Levels, Index: index{c}, Trash: c.trash, Nodes: c.nodesByName, Scrubs: scrubs{c.verify},
		Status: func(ctx context.Context) (httpapi.Status, error) { return c.status(ctx, started) },
		Ready:  c.ready,
		Node:   c.node,
		Events: c.events, Tell: c.happened,
		Metrics: registry, Version: c.cfg.Version, Log: c.cfg.Log,
		MaxBody: c.cfg.MaxBody, MaxFile: maxFile, MaxRequests: c.cfg.MaxRequests,
		Auth: c.cfg.Auth, Names: c.cfg.Names, Tokens: c.catalog, Random: c.cfg.Random,
		Registrar: c.registrar, Change: c.changeNode, Relocations: relocations{c}, JoinTokens: joinTokens{c.registrar}, Hosts: c.certificate.names, Port: func() int { return portOf(c.http) }, CAPEM: c.ca.PEM(), Pin: c.ca.Pin().Short(),
		Drain: drainTime,
	})
}

// fileStore gives object.Store the interface that httpapi asks for.
type fileStore struct{ *object.Store }

// Open implements httpapi.Files.
func (f fileStore) Open(ctx context.Context, file raid.File) (io.ReadSeekCloser, error) {
	r, err := f.Store.Open(ctx, file)
	if err != nil {
		return nil, err // not r: a nil *object.Reader is no nil interface
	}
	return r, nil
}

// index is the catalog as REST sees it. While the catalog may be older than the
// nodes, what it does not know may exist all the same.
type index struct{ c *Controller }

func (i index) orStale(err error) error {
	if errors.Is(err, raid.ErrNotFound) {
		if behind := i.c.members.StaleCatalog(); behind != nil {
			return behind
		}
	}
	return err
}

// File implements httpapi.Index.
func (i index) File(ctx context.Context, id raid.FileID) (raid.File, error) {
	f, err := i.c.catalog.File(ctx, id)
	return f, i.orStale(err)
}

// Names implements httpapi.Index.
func (i index) Names(ctx context.Context, f raid.File, part int) iter.Seq2[raid.ChunkName, error] {
	return func(yield func(raid.ChunkName, error) bool) {
		for n, err := range i.c.catalog.Names(ctx, f, part) {
			if !yield(n, i.orStale(err)) {
				return
			}
		}
	}
}

// Files implements httpapi.Index.
func (i index) Files(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.File, error] {
	return i.c.catalog.Files(ctx, q)
}

// FindKey implements httpapi.Index.
func (i index) FindKey(ctx context.Context, key string) (raid.FileID, [32]byte, bool, error) {
	return i.c.catalog.FindKey(ctx, key)
}

// ready says why files can't be stored and read in full, if they can't.
func (c *Controller) ready() error {
	select {
	case <-c.catalog.Broken():
		return raid.ErrCatalogBroken
	default:
	}
	if err := c.members.StaleCatalog(); err != nil {
		return err
	}
	return c.forgotten()
}

func (c *Controller) status(ctx context.Context, started time.Time) (httpapi.Status, error) {
	n, err := c.catalog.Counts(ctx)
	if err != nil {
		return httpapi.Status{}, err
	}
	s := httpapi.Status{
		Array: c.catalog.Array(), UptimeSeconds: int64(time.Since(started).Seconds()),
		Files: n.Files, FileBytes: n.Bytes, DegradedFiles: n.Degraded, RemovalsQueued: n.Removals, Commit: c.catalog.Commit(),
	}
	a := c.assess(ctx)
	_, now := c.reach(c.members.Nodes())
	s.FilesAtRisk, s.FilesUnreadable = now.OneCopy, now.None
	h := c.repair.Progress()
	s.Healing = httpapi.Healing{
		PartsLeft: h.PartsLeft, BytesLeft: h.BytesLeft, BytesPerSecond: h.BytesPerSecond, SecondsLeft: h.SecondsLeft, BlockedBy: h.BlockedBy,
	}
	s.Health, s.HealthText, s.Message, s.Impaired = a.Health, a.Text(), a.Text(), a.Impaired
	for _, node := range c.members.Nodes() {
		if node.Kind == raid.Native && node.State != raid.Down {
			s.TotalBytes += node.TotalBytes
			s.FreeBytes += node.FreeBytes
		}
	}
	for _, clone := range c.hub.Clones() {
		s.Clones = append(s.Clones, httpapi.Clone{Node: clone.Node, Address: clone.Addr, LastRefused: clone.Last.UTC().Format(time.DateTime)})
	}
	nodes := c.nodesByName()
	s.RoomBytes, s.Trash = c.room(), httpapi.TrashTotals(n.Trash)
	if chunks, known := c.reconcile.Unexplained(); known {
		s.Unexplained = &chunks
	}
	s.Strangers = c.strangers.there()
	s.Warnings, s.Proposals = append(c.warnings(), nearlyFull(nodes, n.Trash.Files > 0)...), proposals(nodes)
	s.Warnings = append(append(s.Warnings, warnOfBadDisks(nodes)...), warnOfPower(nodes)...)
	// Left out where a page of the catalog can't be read: the rest says so, and must.
	if oldest, err := c.verify.OldestVerified(ctx); err == nil {
		s.OldestVerified = oldest
	}
	if len(s.Strangers) > 0 && len(nodes) > 0 {
		s.Warnings = append(s.Warnings, "not let in, since they belong elsewhere: "+strangersText(s.Strangers))
	}
	return s, nil
}
