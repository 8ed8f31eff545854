package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// Catalog is the record of nodes and of what lies on them.
type Catalog interface {
	Named(ctx context.Context, node raid.NodeID, keys []raid.ChunkKey) ([]raid.Repair, []raid.Copy, error)
	NodesOf(ctx context.Context, id raid.FileID) ([]raid.NodeID, error)
	NoteScrub(ctx context.Context, id raid.NodeID, note raid.ScrubNote) error
	PauseScrub(ctx context.Context, id raid.NodeID, paused bool) error
	FirstCreated(ctx context.Context) (created string, err error)
}

// Copies checks copies, and has bad ones made anew.
type Copies interface {
	// Stored describes a file, also one in the trash.
	Stored(ctx context.Context, id raid.FileID) (raid.File, error)
	// Check reads a copy on its node. It fails with raid.ErrCorrupt or raid.ErrNotFound
	// when the copy is bad.
	Check(ctx context.Context, f raid.File, part raid.Part, c raid.Copy) error
	// MarkBad records that a copy is bad and has it replaced.
	MarkBad(ctx context.Context, file raid.FileID, stripe int64, part, index, attempt int) error
}

// Config configures a Verifier.
type Config struct {
	Catalog Catalog
	Copies  Copies
	Nodes   *membership.Members
	Known   []raid.NodeRecord // at the start
	Every   time.Duration     // how often nodes read all their chunks
	Keep    time.Duration     // how long they keep bad ones that were replaced; 0: not at all
	Name    func(raid.NodeID) string
	Now     func() time.Time // the time of day, for people
	Tell    raid.Tell        // nil: nobody wants to know
	Log     *slog.Logger
}

// lookEvery is the interval of the looks at what heartbeats say. That needs memory alone.
const lookEvery = 2 * time.Second

// Verifier does the work. Its methods may be called concurrently.
type Verifier struct {
	cfg    Config
	asking sync.WaitGroup

	mu     sync.Mutex
	nodes  map[raid.NodeID]*node
	oldest oldest
}

// node holds what is known of one.
type node struct {
	paused bool
	start  bool // a person wants a pass, and the node does not know it yet
	note   raid.ScrubNote
	noted  time.Time // when note was written last; zero: not by this controller
	bad    inquiry
}

// oldest holds what OldestVerified has said last.
type oldest struct {
	at   time.Time
	text string
}

// New makes a Verifier; Run does its work.
func New(cfg Config) *Verifier {
	if cfg.Tell == nil {
		cfg.Tell = func(raid.Event) {}
	}
	if cfg.Name == nil {
		cfg.Name = func(raid.NodeID) string { return "" }
	}
	v := &Verifier{cfg: cfg, nodes: map[raid.NodeID]*node{}}
	for _, r := range cfg.Known {
		v.nodes[r.ID] = &node{paused: r.ScrubPaused, note: r.Scrub}
	}
	return v
}

// of returns what is known of a node. mu is held.
func (v *Verifier) of(id raid.NodeID) *node {
	n := v.nodes[id]
	if n == nil {
		n = &node{}
		v.nodes[id] = n
	}
	return n
}

// Order returns what a node is told. It does not wait.
func (v *Verifier) Order(id raid.NodeID) raid.ScrubOrder {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := raid.ScrubOrder{Every: v.cfg.Every, Keep: v.cfg.Keep}
	if n := v.nodes[id]; n != nil {
		o.Paused = n.paused
	}
	return o
}

// Paused reports whether a person has stopped a node's scrub.
func (v *Verifier) Paused(id raid.NodeID) bool { return v.Order(id).Paused }

// Note is when a node has last read all its chunks.
func (v *Verifier) Note(id raid.NodeID) raid.ScrubNote {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.nodes[id]; n != nil {
		return n.note
	}
	return raid.ScrubNote{}
}

// Forget forgets a node that was removed.
func (v *Verifier) Forget(id raid.NodeID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.nodes, id)
}

// Run works until ctx ends, or until the catalog is broken.
func (v *Verifier) Run(ctx context.Context) error {
	defer v.asking.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, p := range v.cfg.Nodes.Natives() {
			err := v.noteNode(ctx, p)
			switch {
			case errors.Is(err, raid.ErrCatalogBroken):
				return err
			case err != nil && ctx.Err() == nil && !errors.Is(err, raid.ErrNotFound):
				v.cfg.Log.Warn("when a node read its chunks could not be written down", "node", p.ID(), "error", err)
			}
			v.ask(ctx, p)
			if err := v.startNow(ctx, p); err != nil {
				v.cfg.Log.Debug("a node's scrub could not be started yet", "node", p.ID(), "cause", err)
			}
		}
	}
}

// noteLeast is the least time between two writes about the passes of one node. An honest
// node begins no pass sooner after another, unless a person wants it.
const noteLeast = 10 * time.Second

// noteNode writes down that a node has read all its chunks, once for each pass, and not more often
// than noteLeast. Of passes that end sooner the last one counts.
func (v *Verifier) noteNode(ctx context.Context, p *membership.Peer) error {
	last := p.Heartbeat().Scrub.Last
	before := v.Note(p.ID())
	if last.Number == 0 || last.Number == before.Pass || !v.mayNote(p.ID()) {
		return nil
	}
	now := v.cfg.Now()
	note := raid.ScrubNote{Pass: last.Number, Began: dayTime(began(now, last)), Ended: dayTime(now.Add(-last.Ended))}
	v.mu.Lock()
	n := v.of(p.ID())
	n.note, n.noted = note, time.Now() // what can't be written is not tried with each heartbeat
	v.oldest = oldest{}
	v.mu.Unlock()
	text := fmt.Sprintf("%s has read all its %d chunks", v.called(p.ID()), last.Chunks)
	e := raid.Event{Kind: raid.ScrubEnded, Node: p.ID(), Text: text + ", and all are whole"}
	if last.Bad > 0 {
		e.Text, e.Advice = fmt.Sprintf("%s, and %d of them are bad", text, last.Bad), "they are replaced by good ones. If that happens often, replace the node's disk"
	}
	v.cfg.Tell(e)
	return v.cfg.Catalog.NoteScrub(ctx, p.ID(), note)
}

func (v *Verifier) mayNote(id raid.NodeID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := v.of(id).noted
	return at.IsZero() || time.Since(at) >= noteLeast
}

// longestPass bounds how long before its running time says so a pass may have begun: the
// node may have been off.
const longestPass = 365 * 24 * time.Hour

// began is when a pass began, and rather too early than too late. The node's own clock
// is asked, since its running time stands still while it is off.
func began(now time.Time, last raid.ScrubPass) time.Time {
	at := now.Add(-last.Began)
	if own := time.Unix(last.BeganAt, 0); own.Before(at) && at.Sub(own) < longestPass {
		return own
	}
	return at
}

func dayTime(t time.Time) string { return t.UTC().Format(time.DateTime) }

// called is the name that people know a node by.
func (v *Verifier) called(id raid.NodeID) string {
	if name := v.cfg.Name(id); name != "" {
		return name
	}
	return string(id)
}

// Start has a node, or all of them, read all their chunks now, and ends a pause, durably.
// One that is away does so when it comes, if this controller still runs then. It fails
// with raid.ErrNotFound for a node that is not known, and with raid.ErrUnsupported for
// one that is too old.
func (v *Verifier) Start(ctx context.Context, id raid.NodeID) error {
	ids, err := v.pause(ctx, id, false)
	if err != nil {
		return err
	}
	v.mu.Lock()
	for _, to := range ids {
		v.of(to).start = true
	}
	v.mu.Unlock()
	for _, to := range ids {
		if p, there := v.cfg.Nodes.Peer(to); there {
			if err := v.startNow(ctx, p); err != nil && id != "" && errors.Is(err, raid.ErrUnsupported) {
				return err
			}
		}
	}
	return nil
}

// startNow has a node begin that is to.
func (v *Verifier) startNow(ctx context.Context, p *membership.Peer) error {
	v.mu.Lock()
	due := v.of(p.ID()).start
	v.mu.Unlock()
	if !due {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := p.StartScrub(call)
	if err != nil && !errors.Is(err, raid.ErrUnsupported) {
		return err // it is tried again
	}
	v.mu.Lock()
	v.of(p.ID()).start = false
	v.mu.Unlock()
	if err == nil {
		v.cfg.Tell(raid.Event{Kind: raid.ScrubBegan, Node: p.ID(), Text: fmt.Sprintf("%s reads all its chunks, as a person wants it", v.called(p.ID()))})
	}
	return err
}

// Pause stops the scrub of a node, or of all of them, until it is started, durably. It
// fails with raid.ErrNotFound for a node that is not known.
func (v *Verifier) Pause(ctx context.Context, id raid.NodeID) error {
	_, err := v.pause(ctx, id, true)
	return err
}

// pause notes whether nodes pause, and returns which they are. Empty: all native ones.
func (v *Verifier) pause(ctx context.Context, id raid.NodeID, paused bool) (ids []raid.NodeID, err error) {
	for _, n := range v.cfg.Nodes.Nodes() {
		if n.Kind == raid.Native && (id == "" || id == n.ID) {
			ids = append(ids, n.ID)
		}
	}
	if id != "" && len(ids) == 0 {
		return nil, fmt.Errorf("%w: there is no native node %s", raid.ErrNotFound, id)
	}
	for _, to := range ids {
		if paused {
			v.mu.Lock()
			v.of(to).start = false
			v.mu.Unlock()
		}
		if v.Paused(to) == paused {
			continue
		}
		// One without a row has no chunk yet, and is forgotten when it goes.
		if err := v.cfg.Catalog.PauseScrub(ctx, to, paused); err != nil && !errors.Is(err, raid.ErrNotFound) {
			return nil, err
		}
		v.mu.Lock()
		v.of(to).paused = paused
		v.mu.Unlock()
	}
	return ids, nil
}

// Verified is when the copies of a file were last known to be whole: UTC, YYYY-MM-DD
// HH:MM:SS. Of several the oldest counts. It is empty for a file without a good copy.
func (v *Verifier) Verified(ctx context.Context, f raid.File) (at string, err error) {
	nodes, err := v.cfg.Catalog.NodesOf(ctx, f.ID)
	if err != nil {
		return "", err
	}
	for _, id := range nodes {
		then := max(v.Note(id).Began, f.Created) // it was checked when it was stored
		if at == "" || then < at {
			at = then
		}
	}
	if f.Lab && at != "" {
		at = f.Created // nobody reads what lies there
	}
	return at, nil
}

// oldestFor is for how long an answer of OldestVerified is good.
const oldestFor = time.Minute

// OldestVerified is the time since which every copy in the array was read or stored, as
// Verified says it, or an earlier one; empty without files. It searches no file.
func (v *Verifier) OldestVerified(ctx context.Context) (at string, err error) {
	v.mu.Lock()
	known := v.oldest
	v.mu.Unlock()
	if !known.at.IsZero() && time.Since(known.at) < oldestFor {
		return known.text, nil
	}
	created, err := v.cfg.Catalog.FirstCreated(ctx)
	if err != nil {
		return "", err
	}
	var passes []string
	for _, n := range v.cfg.Nodes.Nodes() {
		unknown := !n.Seen && n.Recalled == "" // how many chunks it has: it is away since this controller's start
		if n.Kind == raid.Native && (n.Chunks > 0 || unknown) {
			passes = append(passes, v.Note(n.ID).Began)
		}
	}
	if at = created; created != "" && len(passes) > 0 {
		at = max(created, slices.Min(passes))
	}
	v.mu.Lock()
	v.oldest = oldest{time.Now(), at}
	v.mu.Unlock()
	return at, nil
}
