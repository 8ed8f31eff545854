package repair

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// array is a real catalog with files on nodes a, b and c, and a Repairer that puts
// new copies on d.
type array struct {
	t       *testing.T
	catalog *catalog.Catalog
	members *membership.Members
	repair  *Repairer

	mu    sync.Mutex
	made  int                                                                // copies, and what was tried in vain
	put   raid.NodeID                                                        // gets new copies; empty: d
	took  time.Duration                                                      // by each
	fails error                                                              // what comes of it instead
	place func(raid.Part) (put raid.NodeID, took time.Duration, fails error) // says these; nil: nobody does
	found map[raid.NodeID]error                                              // when a copy there is read
	reads map[raid.NodeID]int
}

func newArray(t *testing.T) *array {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &array{t: t, catalog: c}
}

// start makes the Repairer of a controller that starts now.
func (a *array) start() {
	a.t.Helper()
	known, err := a.catalog.Nodes(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	a.members = membership.New(membership.Config{Known: known, Knows: func(uint64) bool { return true }, Remembers: a.catalog.Remembers, Log: log})
	a.repair = New(Config{
		Queue: a.catalog, Copies: a.catalog, Losses: a.catalog, Maker: a, Nodes: a.members, Run: a.catalog.Run(), Grace: time.Hour, Log: log,
	})
}

func (a *array) Rereplicate(ctx context.Context, f raid.File, p raid.Part, m raid.Move) (raid.Copy, error) {
	a.mu.Lock()
	a.made++
	put, took, fails := cmp.Or(a.put, "d"), a.took, a.fails
	if a.place != nil {
		put, took, fails = a.place(p)
	}
	a.mu.Unlock()
	time.Sleep(took)
	if fails != nil {
		return raid.Copy{}, fails
	}
	n, err := a.catalog.NextAttempt(ctx, f.ID, p.Stripe, p.Number, put)
	return raid.Copy{Index: m.Old.Index, Attempt: n, Node: put}, err
}

func (a *array) tries() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made
}

func (a *array) Check(_ context.Context, _ raid.File, _ raid.Part, c raid.Copy) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reads == nil {
		a.reads = map[raid.NodeID]int{}
	}
	a.reads[c.Node]++
	return a.found[c.Node]
}

func (a *array) read(node raid.NodeID) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reads[node]
}

// store stores a file of so many stripes, with both parts on nodes a and b, or b
// and c.
func (a *array) store(stripes int64) raid.File {
	a.t.Helper()
	return a.storeOn(stripes, [2]raid.NodeID{"a", "b"}, [2]raid.NodeID{"b", "c"})
}

// storeOn stores a file of so many stripes, with the parts of each on these nodes.
func (a *array) storeOn(stripes int64, on ...[2]raid.NodeID) raid.File {
	a.t.Helper()
	id, err := a.catalog.NextID(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	upload, err := raid.NewUploadID(a.catalog.Run(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	fin := raid.FinishedUpload{File: raid.File{ID: id, Upload: upload, Filename: "x", Size: 1, Level: "raid1", StripeSize: 100, Stripes: stripes}}
	for s := range stripes {
		for p, n := range on {
			fin.Parts = append(fin.Parts, raid.Part{Stripe: s, Number: p + 1, Length: 1, Copies: []raid.Copy{
				{Index: 1, Attempt: 1, Node: n[0]}, {Index: 2, Attempt: 2, Node: n[1]},
			}})
		}
	}
	f, err := a.catalog.Finish(a.t.Context(), fin)
	if err != nil {
		a.t.Fatal(err)
	}
	return f
}

// on counts a file's good copies on a node.
func (a *array) on(node raid.NodeID, f raid.File) (n int) {
	a.t.Helper()
	parts, err := a.catalog.Parts(a.t.Context(), f.ID, 0, f.Stripes)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, p := range parts {
		for _, c := range p.Copies {
			if c.Node == node && !c.Bad {
				n++
			}
		}
	}
	return n
}

// run runs the Repairer for so long.
func (a *array) run(d time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.repair.Run(ctx) }()
	time.Sleep(d)
	cancel()
	if err := <-done; err != nil {
		a.t.Error(err)
	}
}

// A node that is away keeps its chunks for an hour; one that was removed does not,
// whether the controller has been started anew since or not.
func TestWhatARemovedNodeHeldIsMadeAnewAtOnce(t *testing.T) {
	for name, again := range map[string]bool{"while the controller runs": false, "after its next start": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newArray(t)
				f, g := a.store(60), a.store(1)
				a.start()
				if err := a.catalog.RemoveNode(t.Context(), "a", nil, nil); err != nil {
					t.Fatal(err)
				}
				if again {
					a.start()
				}
				a.run(time.Minute)
				for _, f := range []raid.File{f, g} {
					now, err := a.catalog.File(t.Context(), f.ID)
					if err != nil || now.Degraded || a.on("a", f) != 0 || a.on("d", f) != int(f.Stripes) || a.on("c", f) != int(f.Stripes) {
						t.Errorf("%v: degraded %v, on a %d, on d %d", err, now.Degraded, a.on("a", f), a.on("d", f))
					}
				}
				if counts, err := a.catalog.Counts(t.Context()); err != nil || counts.Removals != 0 || counts.Degraded != 0 || a.made != 61 {
					t.Errorf("%+v, %v, made %d copies", counts, err, a.made)
				}
			})
		})
	}
}

// Whoever is woken finds a node that was removed while nothing else happened.
func TestANodeRemovedLaterWakesRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		f := a.store(3)
		a.start()
		go func() {
			time.Sleep(time.Hour / 2) // before the others are lost, too
			if err := a.catalog.RemoveNode(context.Background(), "b", nil, nil); err != nil {
				t.Error(err)
			}
			a.repair.Wake()
		}()
		a.run(time.Hour/2 + time.Minute)
		if a.on("b", f) != 0 || a.on("d", f) != 6 {
			t.Errorf("on b %d, on d %d", a.on("b", f), a.on("d", f))
		}
	})
}

// losing is a record that fails, and says from where it was asked to go on.
type losing struct {
	none
	asked []int64
	fails error
}

func (l *losing) MarkLost(_ context.Context, at raid.LostCursor, _ int) (raid.LostCursor, bool, error) {
	l.asked = append(l.asked, at.Marked)
	if len(l.asked) == 3 {
		return at, true, l.fails
	}
	at.Node = "a"
	at.Marked++
	return at, len(l.asked) < 5, nil
}

func TestASearchThatFailedGoesOnWhereItWas(t *testing.T) {
	f := &losing{fails: raid.ErrNoSpace}
	r := mender(&failing{}, nil)
	r.cfg.Losses = f
	if left, err := r.evacuatePass(t.Context()); !left || !errors.Is(err, raid.ErrNoSpace) {
		t.Errorf("left %v, %v", left, err)
	}
	if left, err := r.evacuatePass(t.Context()); left || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
	if got := f.asked; len(got) != 5 || got[2] != 2 || got[3] != 2 {
		t.Errorf("asked to go on after %v", got)
	}
	select {
	case <-r.wakeRepair:
	default:
		t.Error("nobody mends what was marked")
	}
	f = &losing{fails: raid.ErrCatalogBroken}
	r.cfg.Losses = f
	if err := r.loop(t.Context(), nil, r.wakeEvacuate, r.evacuatePass); !errors.Is(err, raid.ErrCatalogBroken) {
		t.Errorf("loop: %v", err)
	}
}
