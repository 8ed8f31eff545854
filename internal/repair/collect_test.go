package repair

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

const (
	thisRun   = 7
	lastKnown = 100 // commit number of the catalog; a node with a higher one has seen a newer one
)

// queue is a catalog's record of removals, in memory. The hooks are called
// before a method answers.
type queue struct {
	mu       sync.Mutex
	removals []raid.Removal
	known    map[raid.UploadID]bool
	traced   map[raid.UploadID]string // what else than the index knows
	claims   map[raid.UploadID][]raid.FileID
	swept    int
	recorded int // by Record

	onRemovals, onUnknown func()
}

func (q *queue) Sweep(context.Context, int) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.swept++
	return false, nil
}

func (q *queue) Removals(_ context.Context, node raid.NodeID, limit int) (out []raid.Removal, err error) {
	if q.onRemovals != nil {
		q.onRemovals()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.removals {
		if r.Node == node && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (q *queue) Removed(_ context.Context, done []raid.Removal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removals = slices.DeleteFunc(q.removals, func(r raid.Removal) bool { return slices.Contains(done, r) })
	return nil
}

func (q *queue) Record(_ context.Context, removals []raid.Removal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removals = append(q.removals, removals...)
	q.recorded += len(removals)
	return nil
}

func (q *queue) UnknownUploads(_ context.Context, ids []raid.UploadID) ([]raid.UploadID, error) {
	if q.onUnknown != nil {
		q.onUnknown()
	}
	return slices.DeleteFunc(slices.Clone(ids), func(u raid.UploadID) bool { return q.known[u] }), nil
}

func (q *queue) Traces(_ context.Context, claims map[raid.UploadID][]raid.FileID) (map[raid.UploadID]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	found := map[raid.UploadID]string{}
	for u, files := range claims {
		q.claims[u] = files
		if trace := q.traced[u]; trace != "" {
			found[u] = trace
		}
	}
	return found, nil
}

// waiting is how many removals are on record.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.removals)
}

// disk is a node's, in memory.
type disk struct {
	mu     sync.Mutex
	beat   wire.Heartbeat
	chunks map[raid.ChunkName]bool
	trash  map[raid.ChunkName]time.Duration // kept for so long
	file   map[raid.ChunkName]raid.FileID   // as the trailer says
	array  raid.ArrayID
	listed int // how often

	onDelete func()
	onList   func(wire.ListRequest)                          // called before List answers
	lie      func(wire.ListRequest) ([]raid.ChunkName, bool) // answers List instead
}

func (d *disk) Store(context.Context, wire.StoreRequest) error { return raid.ErrUnsupported }

func (d *disk) Get(context.Context, wire.NodeGet) (wire.NodeChunk, error) {
	return wire.NodeChunk{}, raid.ErrUnsupported
}

// Verify says that all is well, whatever is.
func (d *disk) Verify(context.Context, raid.ChunkName, int64, uint32) error { return nil }

func (d *disk) Delete(_ context.Context, names []raid.ChunkName) []error {
	d.mu.Lock()
	hook := d.onDelete
	d.mu.Unlock()
	if hook != nil {
		hook()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range names {
		delete(d.chunks, n)
	}
	return make([]error, len(names))
}

func (d *disk) List(_ context.Context, req wire.ListRequest) (names []raid.ChunkName, more bool, err error) {
	d.mu.Lock()
	hook := d.onList
	d.mu.Unlock()
	if hook != nil {
		hook(req)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listed++
	if d.lie != nil {
		names, more = d.lie(req)
		return names, more, nil
	}
	for n := range d.chunks {
		if k, err := raid.ParseChunkName(n); n > req.After && (err != nil || k.Upload.Run() < req.MaxRun) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if len(names) > req.Limit {
		return names[:req.Limit], true, nil
	}
	return names, false, nil
}

// trash is the disk's.
type trash struct{ *disk }

func (d trash) Inspect(_ context.Context, name raid.ChunkName) (m raid.ChunkMeta, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch id := d.file[name]; {
	case !d.chunks[name]:
		return m, raid.ErrNotFound
	case id < 0:
		return m, raid.ErrCorrupt
	case id > 0:
		m.File = &raid.FileMeta{ID: id}
	}
	m.Array = d.array
	return m, nil
}

func (d trash) Trash(_ context.Context, names []raid.ChunkName, keep time.Duration) []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range names {
		if d.chunks[n] {
			delete(d.chunks, n)
			d.trash[n] = keep
		}
	}
	return make([]error, len(names))
}

func (d *disk) pages() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listed
}

func (d *disk) has(k raid.ChunkKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.chunks[k.Name()]
}

// says changes what the node says of itself in its heartbeats.
func (d *disk) says(b wire.Heartbeat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beat = b
}

func (d *disk) said() wire.Heartbeat {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.beat
}

// cleaner is a Repairer and one node with two chunks of an earlier run: one is on
// record for removal, the other is of an upload that the catalog does not know.
type cleaner struct {
	t                  *testing.T
	queue              *queue
	disk               *disk
	node               raid.NodeID
	onRecord, leftover raid.ChunkKey
	members            *membership.Members
	repair             *Repairer
	started            chan struct{} // closed to let the Repairer run
	stop               func()
}

// newCleaner must be called in a bubble, and stop at its end.
func newCleaner(t *testing.T, says wire.Heartbeat, amend ...func(*wire.LinkConfig)) *cleaner {
	t.Helper()
	c := &cleaner{t: t, node: raid.NodeID(newID(t)), started: make(chan struct{})}
	c.onRecord, c.leftover = newKey(t), newKey(t)
	c.queue = &queue{
		traced: map[raid.UploadID]string{}, claims: map[raid.UploadID][]raid.FileID{},
		known:    map[raid.UploadID]bool{c.onRecord.Upload: true},
		removals: []raid.Removal{{Node: c.node, Key: c.onRecord}},
	}
	c.disk = &disk{beat: says, array: raid.ArrayID(newID(t)), trash: map[raid.ChunkName]time.Duration{}, file: map[raid.ChunkName]raid.FileID{}, chunks: map[raid.ChunkName]bool{c.onRecord.Name(): true, c.leftover.Name(): true}}
	log := slog.New(slog.DiscardHandler)
	c.members = membership.New(membership.Config{
		Known: []raid.NodeRecord{{ID: c.node}}, Save: func(context.Context, raid.NodeRecord) error { return nil },
		Knows: func(n uint64) bool { return n <= lastKnown }, Settle: time.Second, Window: 8 << 20, Log: log,
	})
	c.repair = New(Config{Queue: c.queue, Copies: &whole{}, Losses: none{}, Nodes: c.members, Array: c.disk.array, Run: thisRun, Keep: 24 * time.Hour, Log: log})
	c.connect(log, amend)
	return c
}

// whole is a catalog in which every copy is good.
type whole struct{ failing }

func (*whole) Repairs(context.Context, raid.PartCursor, int) ([]raid.Repair, error) {
	return nil, nil
}

// none is the record of an array that no node was removed from.
type none struct{}

func (none) MarkLost(context.Context, raid.LostCursor, int) (next raid.LostCursor, more bool, err error) {
	return next, false, nil
}
func (none) Gone(raid.NodeID) bool { return false }

func newID(t *testing.T) string {
	t.Helper()
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newKey draws the name of a chunk of the run before this one.
func newKey(t *testing.T) raid.ChunkKey {
	t.Helper()
	u, err := raid.NewUploadID(thisRun-1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return raid.ChunkKey{Upload: u, Part: 1, Attempt: 1}
}

// connect runs the node, the hub and, once started is closed, the Repairer.
func (c *cleaner) connect(log *slog.Logger, amend []func(*wire.LinkConfig)) {
	c.t.Helper()
	network := &memnet.Network{}
	listen := func(addr string) net.Listener {
		l, err := network.Listen(addr)
		if err != nil {
			c.t.Fatal(err)
		}
		return l
	}
	hub := wire.NewHub(wire.HubConfig{
		Array: raid.ArrayID(newID(c.t)), Store: listen("c:5557"), Response: listen("c:5558"), Request: listen("c:5559"),
		Plaintext: wire.PlaintextAny, Commit: func() uint64 { return lastKnown }, Observer: c.members, Log: log,
	})
	cfg := wire.LinkConfig{
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return network.DialFrom(ctx, "pi", addr)
		},
		StoreAddr: "c:5557", ResponseAddr: "c:5558", RequestAddr: "c:5559", Plaintext: wire.PlaintextAny,
		Node: c.node, Adopt: func(raid.ArrayID) error { return nil }, Handler: c.disk, Trash: trash{c.disk}, Pool: budget.New(1 << 20),
		State: c.disk.said, Random: rand.Reader,
	}
	for _, do := range amend {
		do(&cfg)
	}
	link := wire.NewLink(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hub.Run(ctx) })
	wg.Go(func() { _ = link.Run(ctx) })
	wg.Go(func() { _ = c.members.Run(ctx) })
	wg.Go(func() {
		select {
		case <-c.started:
			_ = c.repair.Run(ctx)
		case <-ctx.Done():
		}
	})
	c.stop = func() { cancel(); wg.Wait() }
	time.Sleep(2 * time.Second)
	if len(c.members.Natives()) != 1 {
		c.t.Fatal("the node did not come up")
	}
}

func TestWhatIsOnRecordAndWhatIsLeftOverIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, wire.Heartbeat{Scanned: true, HighestCommit: lastKnown})
		defer c.stop()
		close(c.started)
		time.Sleep(time.Second)
		if c.disk.has(c.onRecord) || c.disk.has(c.leftover) || c.queue.waiting() != 0 {
			t.Errorf("the chunk on record is there: %v, the leftover: %v; %d removals wait",
				c.disk.has(c.onRecord), c.disk.has(c.leftover), c.queue.waiting())
		}
		if keep := c.disk.trash[c.leftover.Name()]; len(c.disk.trash) != 1 || keep != 24*time.Hour {
			t.Errorf("in the trash are %v", c.disk.trash)
		}
	})
}

// What an older catalog has on record, or does not know, is no evidence.
func TestNothingIsRemovedWhileTheCatalogMayBeOlder(t *testing.T) {
	for name, when := range map[string]struct {
		noticed func(c *cleaner, notice func())
		removed bool // the leftover, before
		sweeps  int
	}{
		"noticed before":                     {func(_ *cleaner, notice func()) { notice() }, false, 0},
		"noticed while the record is read":   {func(c *cleaner, notice func()) { c.queue.onRemovals = notice }, true, 2},
		"noticed while leftovers are listed": {func(c *cleaner, notice func()) { c.disk.onList = func(wire.ListRequest) { notice() } }, false, 2},
		"noticed while leftovers are sought": {func(c *cleaner, notice func()) { c.queue.onUnknown = notice }, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCleaner(t, wire.Heartbeat{Scanned: true, HighestCommit: lastKnown})
				defer c.stop()
				var noticed atomic.Int64
				when.noticed(c, func() {
					noticed.Add(1)
					c.disk.says(wire.Heartbeat{Scanned: true, HighestCommit: lastKnown + 1})
					time.Sleep(time.Second)
				})
				close(c.started)
				time.Sleep(10 * time.Minute)
				if noticed.Load() == 0 || c.members.StaleCatalog() == nil {
					t.Fatal("the catalog was not found to be older: nothing was tested")
				}
				if !c.disk.has(c.onRecord) || c.disk.has(c.leftover) == when.removed {
					t.Errorf("the chunk on record is there: %v, the leftover: %v", c.disk.has(c.onRecord), c.disk.has(c.leftover))
				}
				if n := c.queue.waiting(); n != 1 || c.queue.swept > when.sweeps {
					t.Errorf("%d removals are on record, want 1; swept %d times, want at most %d", n, c.queue.swept, when.sweeps)
				}
			})
		})
	}
}

// Until all of the catalog was read since the start, what it says is no evidence.
func TestNothingIsRemovedBeforeTheCatalogWasChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, wire.Heartbeat{Scanned: true, HighestCommit: lastKnown})
		defer c.stop()
		var checked atomic.Bool
		c.repair.cfg.Vouched = func() error {
			if !checked.Load() {
				return raid.ErrBusy
			}
			return nil
		}
		close(c.started)
		time.Sleep(10 * time.Minute)
		if !c.disk.has(c.onRecord) || !c.disk.has(c.leftover) || c.queue.waiting() != 1 {
			t.Errorf("the chunk on record is there: %v, the leftover: %v; %d removals wait",
				c.disk.has(c.onRecord), c.disk.has(c.leftover), c.queue.waiting())
		}
		checked.Store(true)
		time.Sleep(10 * time.Minute)
		if c.disk.has(c.onRecord) || c.disk.has(c.leftover) {
			t.Error("nothing is removed when the catalog was checked")
		}
	})
}

// A node says only when it has read its disk that it has seen a newer catalog.
// Until then, what the catalog does not know may be part of a file.
func TestLeftoversWaitUntilTheNodeHasReadItsDisk(t *testing.T) {
	for name, found := range map[string]uint64{"of this catalog": lastKnown, "of a newer catalog": lastKnown + 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCleaner(t, wire.Heartbeat{})
				defer c.stop()
				close(c.started)
				time.Sleep(10 * time.Minute)
				if !c.disk.has(c.leftover) || c.disk.listed > 0 {
					t.Errorf("before: the leftover is there: %v, listed %d times", c.disk.has(c.leftover), c.disk.listed)
				}
				if run := c.members.CleanedRun(c.node); run != 0 {
					t.Errorf("before: the node counts as cleaned up to run %d", run)
				}
				c.disk.says(wire.Heartbeat{Scanned: true, FoundCommit: found})
				time.Sleep(10 * time.Minute)
				if keep := found > lastKnown; c.disk.has(c.leftover) != keep {
					t.Errorf("after: the leftover is there: %v, want %v", !keep, keep)
				}
			})
		})
	}
}

// stuck is a disk that has not stored anything until it is released.
type stuck struct {
	*disk
	released chan struct{}
}

func (d stuck) Store(context.Context, wire.StoreRequest) error { <-d.released; return nil }

// That a node answers again is no event. What is to be removed there is removed soon all
// the same, however long it was stuck.
func TestWhatIsOnRecordIsRemovedSoonAfterTheNodeAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		c := newCleaner(t, wire.Heartbeat{Scanned: true, HighestCommit: lastKnown, TotalBytes: 1 << 40, FreeBytes: 1 << 30},
			func(l *wire.LinkConfig) { l.Handler = stuck{l.Handler.(*disk), released} })
		defer c.stop()
		p, there := c.members.Peer(c.node)
		for ; !there; p, there = c.members.Peer(c.node) {
			time.Sleep(100 * time.Millisecond)
		}
		stored := make(chan error, 1)
		go func() {
			stored <- p.Store(t.Context(), raid.ChunkMeta{Array: c.disk.array, Key: newKey(t), Level: "raid1", StripeSize: 1 << 20, Length: 1, Blocks: raid.BlockChecksums([]byte("x"))}, []byte("x"))
		}()
		for range 600 {
			if time.Sleep(100 * time.Millisecond); p.Suspect() {
				break
			}
		}
		close(c.started)
		time.Sleep(8 * time.Minute)
		if c.queue.waiting() != 1 {
			t.Fatalf("a node that is stuck was asked to remove something; it is suspect: %v, %v", p.Suspect(), <-stored)
		}
		close(released)
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		if n := c.queue.waiting(); n != 0 {
			t.Errorf("%d removals wait", n)
		}
	})
}
