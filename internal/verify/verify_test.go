package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pi is a node that says what a test wants.
type pi struct {
	wire.Handler // nobody asks for chunks

	mu     sync.Mutex
	beat   wire.Heartbeat
	bad    []raid.ChunkName // as it lists them
	orders []raid.ScrubOrder
	starts int
}

func (p *pi) said() wire.Heartbeat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beat
}

func (p *pi) say(change func(*wire.Heartbeat)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.beat)
}

func (p *pi) Order(o raid.ScrubOrder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = append(p.orders, o)
}

func (p *pi) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
}

func (p *pi) Bad(after raid.ChunkName, limit int) ([]raid.ChunkName, bool) {
	i := 0
	if after != "" {
		i = slices.Index(p.bad, after) + 1
	}
	rest := p.bad[i:]
	return rest[:min(limit, len(rest))], len(rest) > limit
}

func (p *pi) lastOrder() raid.ScrubOrder {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.orders) == 0 {
		return raid.ScrubOrder{}
	}
	return p.orders[len(p.orders)-1]
}

// record is a Catalog and Copies in memory.
type record struct {
	mu      sync.Mutex
	node    raid.NodeID
	on      []raid.NodeID          // of every file
	known   map[raid.ChunkKey]bool // good copies on node
	rotten  map[raid.ChunkKey]bool // of these, those whose bytes are wrong
	notes   []raid.ScrubNote       // written
	pauses  []bool                 // written
	checked int
	fails   error // of MarkBad
	marked  []raid.FileID
	first   string
}

// fileOf is the file that a chunk belongs to: its upload's second half.
func fileOf(k raid.ChunkKey) raid.FileID {
	return raid.FileID(k.Upload[15]) + raid.FileID(k.Upload[14])<<8
}

func (r *record) Named(_ context.Context, node raid.NodeID, keys []raid.ChunkKey) (parts []raid.Repair, copies []raid.Copy, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if node == r.node && r.known[k] {
			c := raid.Copy{Index: 1, Attempt: k.Attempt, Node: node}
			parts = append(parts, raid.Repair{File: fileOf(k), Part: raid.Part{Stripe: k.Stripe, Number: k.Part, Copies: []raid.Copy{c}}})
			copies = append(copies, c)
		}
	}
	return parts, copies, nil
}

func (r *record) NodesOf(context.Context, raid.FileID) ([]raid.NodeID, error) { return r.on, nil }

func (r *record) NoteScrub(_ context.Context, _ raid.NodeID, n raid.ScrubNote) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, n)
	return nil
}

func (r *record) PauseScrub(_ context.Context, _ raid.NodeID, paused bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pauses = append(r.pauses, paused)
	return nil
}

func (r *record) FirstCreated(context.Context) (string, error) { return r.first, nil }

func (r *record) Stored(_ context.Context, id raid.FileID) (raid.File, error) {
	return raid.File{ID: id, Upload: raid.UploadID{14: byte(id >> 8), 15: byte(id)}}, nil
}

func (r *record) Check(_ context.Context, f raid.File, p raid.Part, c raid.Copy) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked++
	if r.rotten[p.Key(f.Upload, c)] {
		return fmt.Errorf("read: %w", raid.ErrCorrupt)
	}
	return nil
}

func (r *record) MarkBad(_ context.Context, file raid.FileID, stripe int64, part, _, attempt int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails != nil {
		return r.fails
	}
	r.marked = append(r.marked, file)
	delete(r.known, raid.ChunkKey{Upload: raid.UploadID{14: byte(file >> 8), 15: byte(file)}, Stripe: stripe, Part: part, Attempt: attempt})
	return nil
}

// array is a Verifier, a node, and what lies between them, in a bubble.
type array struct {
	*Verifier
	t      *testing.T
	cfg    Config
	pi     *pi
	record *record
	node   raid.NodeID
	events []raid.Event
	mu     sync.Mutex

	up, down, stop func()
}

func newID(t *testing.T) raid.NodeID {
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return raid.NodeID(id)
}

func inBubble(t *testing.T, do func(*array)) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		do(a)
		a.stop()
	})
}

func newArray(t *testing.T) *array {
	a := &array{t: t, pi: &pi{beat: wire.Heartbeat{TotalBytes: 1 << 40, FreeBytes: 1 << 30, Scanned: true, Chunks: 7}}, node: newID(t)}
	a.record = &record{node: a.node, known: map[raid.ChunkKey]bool{}, rotten: map[raid.ChunkKey]bool{}, on: []raid.NodeID{a.node}}
	log := slog.New(slog.DiscardHandler)
	network := &memnet.Network{}
	listen := func(addr string) net.Listener {
		l, err := network.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	members := membership.New(membership.Config{
		Save: func(context.Context, raid.NodeRecord) error { return nil }, Knows: func(uint64) bool { return true },
		Remembers: func(raid.NodeID) bool { return true }, Settle: time.Second, Window: 8 << 20, Log: log,
	})
	a.cfg = Config{
		Catalog: a.record, Copies: a.record, Nodes: members, Every: 7 * 24 * time.Hour, Keep: time.Hour, Now: time.Now, Log: log,
		Tell: func(e raid.Event) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.events = append(a.events, e)
		},
	}
	a.Verifier = New(a.cfg)
	hub := wire.NewHub(wire.HubConfig{
		Array: raid.ArrayID(newID(t)), Store: listen("c:5557"), Response: listen("c:5558"), Request: listen("c:5559"),
		Plaintext: wire.PlaintextAny, Commit: func() uint64 { return 1 }, Observer: members, Log: log,
		Tell: func(id raid.NodeID) wire.Told { o := a.Order(id); return wire.Told{Scrub: &o} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hub.Run(ctx) })
	wg.Go(func() { _ = members.Run(ctx) })
	wg.Go(func() { _ = a.Run(ctx) })
	a.up = func() {
		link := wire.NewLink(wire.LinkConfig{
			Dial:      func(ctx context.Context, _, addr string) (net.Conn, error) { return network.DialFrom(ctx, "pi", addr) },
			StoreAddr: "c:5557", ResponseAddr: "c:5558", RequestAddr: "c:5559", Plaintext: wire.PlaintextAny,
			Node: a.node, Adopt: func(raid.ArrayID) error { return nil }, Handler: a.pi, Scrub: a.pi, Pool: budget.New(1 << 20),
			State: a.pi.said, Random: rand.Reader,
		})
		nctx, end := context.WithCancel(ctx)
		over := make(chan struct{})
		wg.Go(func() { defer close(over); _ = link.Run(nctx) })
		a.down = func() { end(); <-over }
		for {
			if _, there := members.Peer(a.node); there {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	a.up()
	a.stop = func() { cancel(); wg.Wait() }
	return a
}

// chunk is the key of the only chunk of a file.
func chunk(file int) raid.ChunkKey {
	return raid.ChunkKey{Upload: raid.UploadID{14: byte(file >> 8), 15: byte(file)}, Part: 1, Attempt: 1}
}

// calls has the node call chunks of these files bad, of which the catalog knows those up
// to known.
func (a *array) calls(files, known int) {
	a.record.mu.Lock()
	defer a.record.mu.Unlock()
	for i := 1; i <= files; i++ {
		a.pi.bad = append(a.pi.bad, chunk(i).Name())
		a.record.known[chunk(i)] = i <= known
	}
	slices.Sort(a.pi.bad)
	a.pi.say(func(b *wire.Heartbeat) { b.Bad = int64(files) })
}

// seen is what was done to the record, and what was told, until now.
func (a *array) seen() (checked int, marked []raid.FileID, notes []raid.ScrubNote, pauses []bool) {
	a.record.mu.Lock()
	defer a.record.mu.Unlock()
	marked = slices.Sorted(slices.Values(a.record.marked))
	return a.record.checked, marked, slices.Clone(a.record.notes), slices.Clone(a.record.pauses)
}

func (a *array) told() []raid.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.events)
}

// noted sets when a node was last through.
func (a *array) noted(id raid.NodeID, n raid.ScrubNote) {
	a.Verifier.mu.Lock()
	defer a.Verifier.mu.Unlock()
	a.of(id).note = n
}

// holds has the catalog know a file's chunk, which may be rotten.
func (a *array) holds(file int, rotten bool) {
	a.record.mu.Lock()
	defer a.record.mu.Unlock()
	a.record.known[chunk(file)], a.record.rotten[chunk(file)] = true, rotten
}

func (p *pi) started() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

func (a *array) problem() string {
	for _, n := range a.cfg.Nodes.Nodes() {
		if n.ID == a.node {
			return n.Problem
		}
	}
	return ""
}

func TestOnlyWhatProvesWrongIsMarked(t *testing.T) {
	inBubble(t, func(a *array) {
		a.holds(2, true)
		a.holds(4, true)
		a.calls(8, 5) // three belong to nothing
		time.Sleep(time.Minute)
		checked, marked, _, _ := a.seen()
		if !slices.Equal(marked, []raid.FileID{2, 4}) || checked != 5 || a.problem() != "" {
			t.Errorf("marked %v after %d checks; %s", marked, checked, a.problem())
		}
		time.Sleep(2 * askAgain) // what was whole is not read again and again
		if checked, marked, _, _ = a.seen(); checked != 5 || len(marked) != 2 {
			t.Errorf("%d checks, marked %v", checked, marked)
		}
		a.holds(7, true) // one that is found later
		a.pi.say(func(b *wire.Heartbeat) { b.Bad++ })
		time.Sleep(time.Minute)
		if _, marked, _, _ = a.seen(); len(marked) != 3 {
			t.Errorf("marked %v", marked)
		}
	})
}

// What was bad is replaced while the node finds as many others: it says the same number, and
// is asked for them all the same, soon.
func TestAsManyOtherBadChunksAreSeenTo(t *testing.T) {
	inBubble(t, func(a *array) {
		a.calls(2, 0)
		a.holds(1, true)
		time.Sleep(askLeast / 2)
		_, first, _, _ := a.seen()
		a.holds(2, true)
		time.Sleep(time.Minute)
		if _, marked, _, _ := a.seen(); !slices.Equal(first, []raid.FileID{1}) || !slices.Equal(marked, []raid.FileID{1, 2}) {
			t.Errorf("marked %v, and after a minute %v", first, marked)
		}
	})
}

// fail has marking fail from now on; nil: it works.
func (a *array) fail(err error) {
	a.record.mu.Lock()
	defer a.record.mu.Unlock()
	a.record.fails = err
}

// What a node has counted is told as not looked at from its heartbeat on, until it was.
func TestBadChunksAreUncheckedUntilTheyWereLookedAt(t *testing.T) {
	inBubble(t, func(a *array) {
		a.holds(1, true)
		a.calls(3, 3)
		before := 0
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			p, there := a.cfg.Nodes.Peer(a.node)
			if !there || p.Heartbeat().Bad == 0 {
				continue
			}
			if checked, marked, _, _ := a.seen(); checked == 3 && len(marked) == 1 {
				break
			}
			if before++; a.Unchecked()[a.node] != 3 {
				t.Fatalf("before they were looked at: %v", a.Unchecked())
			}
		}
		if before == 0 {
			t.Error("the test never saw the time between")
		}
		a.pi.say(func(b *wire.Heartbeat) { b.Bad = 2 }) // the rotten one is in its trash; the others are whole
		time.Sleep(time.Minute)
		if u := a.Unchecked(); len(u) != 0 {
			t.Errorf("a minute later: %v", u)
		}
		a.down()
		if u := a.Unchecked(); len(u) != 0 {
			t.Errorf("of a node that is gone: %v", u)
		}
	})
}

// A look that fails is made again soon, and not after a quarter of an hour.
func TestALookThatFailsIsMadeAgainSoon(t *testing.T) {
	inBubble(t, func(a *array) {
		a.fail(raid.ErrBusy)
		a.holds(1, true)
		a.calls(1, 1)
		time.Sleep(time.Minute)
		if u := a.Unchecked(); u[a.node] != 1 {
			t.Errorf("a look that failed counts as one: %v", u)
		}
		a.fail(nil)
		time.Sleep(2*askLeast + 5*time.Second)
		if _, marked, _, _ := a.seen(); len(marked) != 1 {
			t.Error("nobody looked again")
		}
	})
}

func TestANodeThatCallsEverythingBadCostsOnlyItself(t *testing.T) {
	inBubble(t, func(a *array) {
		a.calls(9000, 9000)
		time.Sleep(2 * askAgain)
		checked, marked, _, _ := a.seen()
		if checked > mostVain+1 || len(marked) != 0 {
			t.Errorf("%d checks, marked %v", checked, marked)
		}
		if !strings.Contains(a.problem(), "calls chunks corrupt that are whole") {
			t.Errorf("people are told: %q", a.problem())
		}
	})
}

func TestANodeThatListsNonsenseIsNotAskedOn(t *testing.T) {
	for name, bad := range map[string][]raid.ChunkName{
		"twice the same": {chunk(1).Name(), chunk(1).Name()},
		"no chunk":       {"abc"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(a *array) {
				a.holds(1, false)
				a.pi.bad = bad // before it says that there are any
				a.pi.say(func(b *wire.Heartbeat) { b.Bad = 2 })
				time.Sleep(time.Minute)
				if checked, _, _, _ := a.seen(); checked != 0 || a.problem() == "" {
					t.Errorf("%d checks; people are told: %q", checked, a.problem())
				}
			})
		})
	}
}

func TestAPassIsWrittenDownOnce(t *testing.T) {
	inBubble(t, func(a *array) {
		began := time.Now().Add(-3 * time.Hour) // of which the node was off for one
		a.pi.say(func(b *wire.Heartbeat) {
			b.Scrub = raid.Scrub{State: raid.ScrubWaiting, Pass: 2, Last: raid.ScrubPass{Number: 1, Began: 2 * time.Hour, Ended: time.Hour, BeganAt: began.Unix(), Chunks: 7, Bad: 1}}
		})
		time.Sleep(10 * time.Minute)
		_, _, notes, _ := a.seen()
		from := began.UTC().Format(time.DateTime)
		if len(notes) != 1 || notes[0].Pass != 1 || notes[0].Began != from || notes[0].Ended <= from {
			t.Fatalf("written: %+v", notes)
		}
		if told := a.told(); len(told) != 1 || told[0].Kind != raid.ScrubEnded || !strings.Contains(told[0].Text, "1 of them are bad") {
			t.Errorf("told: %+v", told)
		}
		a.down()
		a.up()
		// A controller that starts knows it from the catalog.
		cfg := a.cfg
		cfg.Known = []raid.NodeRecord{{ID: a.node, Scrub: notes[0]}}
		p, _ := cfg.Nodes.Peer(a.node)
		err := New(cfg).noteNode(a.t.Context(), p)
		if _, _, notes, _ = a.seen(); err != nil || len(notes) != 1 {
			t.Errorf("written again: %+v, %v", notes, err)
		}
		// A clock that starts in 1970 is not believed.
		a.pi.say(func(b *wire.Heartbeat) { b.Scrub.Last = raid.ScrubPass{Number: 2, Began: time.Hour, BeganAt: 60} })
		time.Sleep(10 * time.Second)
		if _, _, notes, _ = a.seen(); len(notes) != 2 || notes[1].Began < time.Now().Add(-2*time.Hour).UTC().Format(time.DateTime) {
			t.Errorf("written: %+v", notes)
		}
	})
}

// A node may call each heartbeat the end of another pass. That costs few writes.
func TestANodeThatEndsPassesAllTheTimeCostsFewWrites(t *testing.T) {
	inBubble(t, func(a *array) {
		for i := range int64(300) {
			a.pi.say(func(b *wire.Heartbeat) {
				b.Scrub.State, b.Scrub.Last = raid.ScrubWaiting, raid.ScrubPass{Number: i + 1, Chunks: 1}
			})
			time.Sleep(lookEvery)
		}
		time.Sleep(time.Minute)
		if _, _, notes, _ := a.seen(); len(notes) > 70 || notes[len(notes)-1].Pass != 300 {
			t.Errorf("%d notes in ten minutes, the last one of pass %d", len(notes), notes[len(notes)-1].Pass)
		}
	})
}

func TestAPauseIsToldAndWrittenOnce(t *testing.T) {
	inBubble(t, func(a *array) {
		if o := a.pi.lastOrder(); o != (raid.ScrubOrder{Every: a.cfg.Every, Keep: a.cfg.Keep}) {
			t.Errorf("told at first: %+v", o)
		}
		for range 2 {
			if err := a.Pause(a.t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if _, _, _, pauses := a.seen(); !a.pi.lastOrder().Paused || !slices.Equal(pauses, []bool{true}) {
			t.Errorf("told %+v, written %v", a.pi.lastOrder(), pauses)
		}
		if !New(Config{Known: []raid.NodeRecord{{ID: a.node, ScrubPaused: true}}}).Paused(a.node) {
			t.Error("a controller that starts has forgotten it")
		}
		a.down()
		if err := a.Start(a.t.Context(), a.node); err != nil || a.pi.started() != 0 {
			t.Fatalf("%d starts, %v", a.pi.started(), err)
		}
		a.up()
		time.Sleep(10 * time.Second)
		if _, _, _, pauses := a.seen(); a.pi.lastOrder().Paused || a.pi.started() != 1 || !slices.Equal(pauses, []bool{true, false}) {
			t.Errorf("a node that came has had %d starts and was told %+v; written %v", a.pi.started(), a.pi.lastOrder(), pauses)
		}
		if err := a.Start(a.t.Context(), "nobody"); !errors.Is(err, raid.ErrNotFound) {
			t.Error(err)
		}
	})
}

func TestAFileIsVerifiedAsOfItsOldestCopy(t *testing.T) {
	inBubble(t, func(a *array) {
		other := newID(t)
		a.record.on = []raid.NodeID{a.node, other}
		verified := func(created string, lab bool) string {
			t.Helper()
			at, err := a.Verified(a.t.Context(), raid.File{ID: 1, Created: created, Lab: lab})
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		if at := verified("2026-01-05 00:00:00", false); at != "2026-01-05 00:00:00" {
			t.Errorf("before any pass it was checked when it was stored, and not %q", at)
		}
		a.noted(a.node, raid.ScrubNote{Pass: 1, Began: "2026-01-09 00:00:00"})
		a.noted(other, raid.ScrubNote{Pass: 1, Began: "2026-01-07 00:00:00"})
		for created, want := range map[string]string{
			"2026-01-05 00:00:00": "2026-01-07 00:00:00", "2026-01-08 00:00:00": "2026-01-08 00:00:00", "2026-01-10 00:00:00": "2026-01-10 00:00:00",
		} {
			if at := verified(created, false); at != want {
				t.Errorf("a file of %s was verified %s, want %s", created, at, want)
			}
		}
		if at := verified("2026-01-05 00:00:00", true); at != "2026-01-05 00:00:00" {
			t.Errorf("on a lab node nobody reads it, and it was verified %s", at)
		}
		a.record.on = nil
		if at := verified("2026-01-05 00:00:00", false); at != "" {
			t.Errorf("without a good copy: %s", at)
		}
		oldest := func(first, want string) {
			t.Helper()
			a.record.first = first
			time.Sleep(2 * oldestFor)
			if at, err := a.OldestVerified(a.t.Context()); at != want || err != nil {
				t.Errorf("with a first file of %q: %q, %v, want %q", first, at, err, want)
			}
		}
		oldest("", "")
		oldest("2026-01-05 00:00:00", "2026-01-09 00:00:00") // the other node is not known to the array
		oldest("2026-01-11 00:00:00", "2026-01-11 00:00:00")
		a.noted(a.node, raid.ScrubNote{})
		oldest("2026-01-05 00:00:00", "2026-01-05 00:00:00")
	})
}

// A controller that was killed knows of a node which is away since then that it is there,
// and not how many chunks it has. What that has read last counts all the same.
func TestANodeThatDidNotComeYetCountsForTheOldest(t *testing.T) {
	away := newID(t)
	note := raid.ScrubNote{Pass: 1, Began: "2026-01-07 00:00:00"}
	known := []raid.NodeRecord{{ID: away, Scrub: note}}
	members := membership.New(membership.Config{
		Save: func(context.Context, raid.NodeRecord) error { return nil }, Knows: func(uint64) bool { return true },
		Remembers: func(raid.NodeID) bool { return true }, Known: known, Log: slog.New(slog.DiscardHandler),
	})
	v := New(Config{Catalog: &record{first: "2026-01-05 00:00:00"}, Nodes: members, Known: known, Log: slog.New(slog.DiscardHandler)})
	if at, err := v.OldestVerified(t.Context()); at != note.Began || err != nil {
		t.Errorf("%q, %v, want %q", at, err, note.Began)
	}
}
