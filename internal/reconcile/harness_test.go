package reconcile

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// book is a catalog in memory. fails is asked before each call, by its name.
type book struct {
	mu        sync.Mutex
	rows      map[raid.ChunkName]raid.Held // of all nodes
	explained map[raid.ChunkName]bool      // that have no row
	walks     int
	marks     int // calls
	fails     func(call string) error
}

func (b *book) call(name string) error {
	b.mu.Lock()
	fails := b.fails
	b.mu.Unlock()
	if fails == nil {
		return nil
	}
	return fails(name)
}

// sorted are the rows that a filter takes, by name. Callers hold mu.
func (b *book) sorted(take func(raid.ChunkName, raid.Held) bool) (out []raid.Held) {
	var names []raid.ChunkName
	for n, h := range b.rows {
		if take(n, h) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		out = append(out, b.rows[n])
	}
	return out
}

func (b *book) EachHeld(_ context.Context, nodes []raid.NodeID, after raid.PartCursor, copies int, see func(*raid.Held)) (raid.PartCursor, bool, error) {
	if err := b.call("EachHeld"); err != nil {
		return after, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if after.File == 0 {
		b.walks++
	}
	all := b.sorted(func(_ raid.ChunkName, h raid.Held) bool { return !h.Bad && slices.Contains(nodes, h.Node) })
	from := min(int(after.File), len(all))
	to := min(from+copies, len(all))
	for i := range all[from:to] {
		see(&all[from+i])
	}
	return raid.PartCursor{File: raid.FileID(to)}, to < len(all), nil
}

func (b *book) HeldOn(_ context.Context, node raid.NodeID, after raid.HeldCursor, to string, limit int) (held []raid.Held, next raid.HeldCursor, more bool, err error) {
	if err := b.call("HeldOn"); err != nil {
		return nil, after, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.sorted(func(n raid.ChunkName, h raid.Held) bool {
		return h.Node == node && (string(n) > after.Upload) && (to == "" || string(n) < to)
	})
	if len(all) > limit {
		k, _ := all[limit-1].Key()
		return all[:limit], raid.HeldCursor{Upload: string(k.Name())}, true, nil
	}
	return all, after, false, nil
}

func (b *book) MarkAllBad(_ context.Context, copies []raid.CopyID) (marked []raid.CopyID, err error) {
	if err := b.call("MarkAllBad"); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks++
	for _, c := range copies {
		for n, h := range b.rows {
			if h.File == c.File && h.Stripe == c.Stripe && h.Attempt == c.Attempt && !h.Bad && !h.Gone {
				h.Bad = true
				b.rows[n] = h
				marked = append(marked, c)
			}
		}
	}
	return marked, nil
}

func (b *book) Unexplained(_ context.Context, _ raid.NodeID, keys []raid.ChunkKey) ([]raid.ChunkKey, error) {
	if err := b.call("Unexplained"); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(keys), func(k raid.ChunkKey) bool {
		_, row := b.rows[k.Name()]
		return row || b.explained[k.Name()]
	}), nil
}

func (b *book) File(_ context.Context, id raid.FileID) (raid.File, error) {
	if err := b.call("File"); err != nil {
		return raid.File{}, err
	}
	return raid.File{ID: id, Filename: "holiday.jpg"}, nil
}

// bad are the rows that count as bad.
func (b *book) bad() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.rows {
		if h.Bad {
			n++
		}
	}
	return n
}

func (b *book) walked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.walks
}

// disk is a node's, in memory.
type disk struct {
	mu     sync.Mutex
	beat   wire.Heartbeat
	chunks map[raid.ChunkName]raid.Listed
	order  []raid.ChunkName // of chunks; nil: not known
	listed int
	old    bool // it describes nothing
	lie    func(req wire.ListRequest) ([]raid.Listed, bool)
	onList func()
}

func (d *disk) Store(context.Context, wire.StoreRequest) error { return raid.ErrUnsupported }
func (d *disk) Get(context.Context, wire.NodeGet) (wire.NodeChunk, error) {
	return wire.NodeChunk{}, raid.ErrUnsupported
}
func (d *disk) Verify(context.Context, raid.ChunkName, int64, uint32) error { return nil }
func (d *disk) Delete(_ context.Context, names []raid.ChunkName) []error {
	return make([]error, len(names))
}
func (d *disk) Trash(_ context.Context, names []raid.ChunkName, _ time.Duration) []error {
	return make([]error, len(names))
}

func (d *disk) Inspect(_ context.Context, name raid.ChunkName) (raid.ChunkMeta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.chunks[name]; !there {
		return raid.ChunkMeta{}, raid.ErrNotFound
	}
	return raid.ChunkMeta{Array: "0123456789012345678901"}, nil
}

func (d *disk) List(ctx context.Context, req wire.ListRequest) (names []raid.ChunkName, more bool, err error) {
	all, more, err := d.Describe(ctx, req)
	for _, l := range all {
		names = append(names, l.Name)
	}
	return names, more, err
}

func (d *disk) Describe(_ context.Context, req wire.ListRequest) (out []raid.Listed, more bool, err error) {
	d.mu.Lock()
	d.listed++
	lie, hook := d.lie, d.onList
	d.mu.Unlock()
	if hook != nil {
		hook()
	}
	if lie != nil {
		out, more = lie(req)
		return out, more, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.order == nil {
		d.order = slices.Sorted(maps.Keys(d.chunks))
	}
	from, _ := slices.BinarySearch(d.order, req.After+"\x00")
	for _, n := range d.order[from:] {
		if len(out) == req.Limit {
			return out, true, nil
		}
		out = append(out, d.chunks[n])
	}
	return out, false, nil
}

func (d *disk) put(k raid.ChunkKey) raid.ChunkKey {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chunks[k.Name()], d.order = chunkOf(k).Listed, nil
	return k
}

func (d *disk) change(k raid.ChunkKey, do func(*raid.Listed)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.chunks[k.Name()]
	do(&l)
	d.chunks[k.Name()] = l
}

func (d *disk) drop(k raid.ChunkKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.chunks, k.Name())
	d.order = nil
}

func (d *disk) pages() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listed
}

func (d *disk) said() wire.Heartbeat {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.beat
}

// scene is an array whose nodes, catalog and repair are in memory.
type scene struct {
	t       *testing.T
	ids     []raid.NodeID
	disks   []*disk
	book    *book
	members *membership.Members
	hub     *wire.Hub
	rec     *Reconciler
	network *memnet.Network
	array   raid.ArrayID

	mu       sync.Mutex
	events   []raid.Event
	underWay raid.UploadID
	strays   []raid.ChunkKey
	again    []raid.FileID
	checked  int
	dirty    bool // no node is cleaned
	reads    func(raid.ChunkKey) error
	woken    int

	ctx  context.Context
	stop func()
	wg   sync.WaitGroup
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newScene must be called in a bubble, and stop at its end. Nothing is compared yet. What
// amend does comes before the nodes connect.
func newScene(t *testing.T, nodes int, amend ...func(*scene)) *scene {
	t.Helper()
	s := &scene{
		t: t, network: &memnet.Network{}, array: raid.ArrayID(newID(t)),
		book: &book{rows: map[raid.ChunkName]raid.Held{}, explained: map[raid.ChunkName]bool{}},
	}
	log := slog.New(slog.DiscardHandler)
	var known []raid.NodeRecord
	for range nodes {
		s.ids = append(s.ids, raid.NodeID(newID(t)))
		known = append(known, raid.NodeRecord{ID: s.ids[len(s.ids)-1]})
		s.disks = append(s.disks, &disk{chunks: map[raid.ChunkName]raid.Listed{}, beat: wire.Heartbeat{Scanned: true, Chunks: 1 << 20, TotalBytes: 1 << 40}})
	}
	s.members = membership.New(membership.Config{
		Known: known, Save: func(context.Context, raid.NodeRecord) error { return nil },
		Knows: func(uint64) bool { return true }, Settle: time.Second, Window: 8 << 20, Log: log,
	})
	s.rec = New(Config{Catalog: s.book, Reader: s, Leftovers: s, Nodes: s.members, Tell: s.happened, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	s.ctx, s.stop = ctx, func() { cancel(); s.wg.Wait() }
	listen := func(addr string) net.Listener {
		l, err := s.network.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	s.hub = wire.NewHub(wire.HubConfig{
		Array: s.array, Store: listen("c:5557"), Response: listen("c:5558"), Request: listen("c:5559"),
		Plaintext: wire.PlaintextAny, Commit: func() uint64 { return 1 }, Observer: s.members, Log: log,
	})
	s.wg.Go(func() { _ = s.hub.Run(ctx) })
	s.wg.Go(func() { _ = s.members.Run(ctx) })
	for _, do := range amend {
		do(s)
	}
	for i := range nodes {
		s.connect(i)
	}
	time.Sleep(2 * time.Second)
	if len(s.members.Natives()) != nodes {
		t.Fatalf("%d nodes came up", len(s.members.Natives()))
	}
	return s
}

// connect runs a node until the returned function is called.
func (s *scene) connect(i int) (cut func()) {
	d := s.disks[i]
	cfg := wire.LinkConfig{
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return s.network.DialFrom(ctx, "pi", addr)
		},
		StoreAddr: "c:5557", ResponseAddr: "c:5558", RequestAddr: "c:5559", Plaintext: wire.PlaintextAny,
		Node: s.ids[i], Adopt: func(raid.ArrayID) error { return nil }, Handler: d, Trash: d, Pool: budget.New(1 << 20),
		State: d.said, Random: rand.Reader,
	}
	if !d.old {
		cfg.Describer = d
	}
	link := wire.NewLink(cfg)
	ctx, cancel := context.WithCancel(s.ctx)
	s.wg.Go(func() { _ = link.Run(ctx) })
	return cancel
}

// begin has the nodes compared.
func (s *scene) begin() { s.wg.Go(func() { _ = s.rec.Run(s.ctx) }) }

func (s *scene) happened(e raid.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// Check reads from the disk.
func (s *scene) Check(_ context.Context, f raid.File, part raid.Part, c raid.Copy) error {
	k := part.Key(f.Upload, c)
	s.mu.Lock()
	s.checked++
	reads := s.reads
	s.mu.Unlock()
	if reads != nil {
		if err := reads(k); err != nil {
			return err
		}
	}
	d := s.disks[slices.Index(s.ids, c.Node)]
	d.mu.Lock()
	defer d.mu.Unlock()
	l, there := d.chunks[k.Name()]
	switch {
	case !there:
		return raid.ErrNotFound
	case l.Err != nil || l.Length != part.Length || l.CRC != part.CRC:
		return raid.ErrCorrupt
	}
	return nil
}

func (s *scene) UnderWay(u raid.UploadID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return u == s.underWay
}

func (s *scene) Cleaned(*membership.Peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.dirty
}

func (s *scene) Stray(_ context.Context, _ *membership.Peer, keys []raid.ChunkKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strays = append(s.strays, keys...)
	return nil
}

func (s *scene) CheckAgain(f raid.FileID, _ raid.Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = append(s.again, f)
}

func (s *scene) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.woken++
}

// newKey draws a chunk of an upload of its own.
func newKey(t *testing.T) raid.ChunkKey {
	t.Helper()
	u, err := raid.NewUploadID(1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return raid.ChunkKey{Upload: u, Part: 1, Attempt: 1}
}

// store puts a new copy on a node, and into the catalog as that of a file of its own.
func (s *scene) store(i int) raid.ChunkKey {
	k := s.disks[i].put(newKey(s.t))
	s.record(i, k)
	return k
}

func (s *scene) record(i int, k raid.ChunkKey) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	h := heldOf(k)
	h.Node, h.File = s.ids[i], raid.FileID(len(s.book.rows)+1)
	s.book.rows[k.Name()] = h
}

func (s *scene) amend(k raid.ChunkKey, do func(*raid.Held)) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	h := s.book.rows[k.Name()]
	do(&h)
	s.book.rows[k.Name()] = h
}

func (s *scene) isBad(k raid.ChunkKey) bool {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	return s.book.rows[k.Name()].Bad
}

func (s *scene) problem(i int) string {
	for _, n := range s.members.Nodes() {
		if n.ID == s.ids[i] {
			return n.Problem
		}
	}
	return ""
}

// told are the events so far.
func (s *scene) told() []raid.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// cut breaks a node's connection, whose process lives on.
func (s *scene) cut(p *membership.Peer) { s.hub.Cut(p.ID(), context.Canceled) }
