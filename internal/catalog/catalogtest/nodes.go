package catalogtest

import (
	"errors"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func testNodes(h *harness) {
	rec := raid.NodeRecord{ID: "n1", Zone: "attic", Address: "192.0.2.7:5559", CleanedRun: 3, Disk: 1 << 40}
	h.must(h.SaveNode(h.ctx, rec))
	zone, name := "cellar", "box"
	_, err := h.ChangeNode(h.ctx, "n1", raid.NodeChange{Zone: &zone, Name: &name})
	h.must(err)
	note := raid.ScrubNote{Pass: 4, Began: created, Ended: created}
	h.must(h.NoteScrub(h.ctx, "n1", note))
	h.must(h.PauseScrub(h.ctx, "n1", true))
	h.must(h.Relocate(h.ctx, "n1", func(r raid.Relocation) (raid.Relocation, error) {
		r.Draining = true
		return r, nil
	}))
	refused := errors.New("no")
	h.wants(h.Relocate(h.ctx, "n1", func(r raid.Relocation) (raid.Relocation, error) { return raid.Relocation{}, refused }), refused)
	for range 2 {
		got, ok := h.Node("n1")
		if !ok || got.Zone != "cellar" || got.Address != rec.Address || got.CleanedRun != 3 || !got.Draining || !got.ScrubPaused || got.Scrub != note {
			h.Errorf("%t %+v", ok, got)
		}
		all, err := h.Nodes(h.ctx)
		if h.must(err); !slices.ContainsFunc(all, func(r raid.NodeRecord) bool { return r.ID == "n1" && r.Draining }) {
			h.Errorf("nodes are %+v", all)
		}
		if _, ok := h.Node("n2"); ok || h.Remembers("n2") || h.Gone("n1") {
			h.Error("a node is known that never was, or gone that is there")
		}
		h.kill()
	}
	f := h.store(1)
	if _, err := h.NextAttempt(h.ctx, f.ID, 0, 1, "n1"); !errors.Is(err, raid.ErrPeerGone) {
		h.Errorf("a node that drains gets a copy: %v", err)
	}
	h.must(h.Relocate(h.ctx, "n1", func(raid.Relocation) (raid.Relocation, error) { return raid.Relocation{}, nil }))
	if _, err := h.NextAttempt(h.ctx, f.ID, 0, 1, "n1"); err != nil {
		h.Errorf("one that drains no more gets none: %v", err)
	}
}

func testRemoveNode(h *harness) {
	f := h.store(6)
	h.countAll()
	if r := h.Resting("n0"); r.None() || r.Files != 1 {
		h.Errorf("on n0 rests %+v", r)
	}
	refused := errors.New("files rest on it")
	var told raid.Leaving
	h.wants(h.RemoveNode(h.ctx, "n0", everywhere, func(l raid.Leaving) error { told = l; return refused }), refused)
	if told.Files != 1 || told.Lost != 0 || h.Gone("n0") {
		h.Errorf("told was %+v; it is gone: %t", told, h.Gone("n0"))
	}
	h.must(h.RemoveNode(h.ctx, "n0", func(id raid.NodeID) bool { return id != "n1" }, func(l raid.Leaving) error { told = l; return nil }))
	if told.Lost != 1 { // n1, which has the other copies of some parts, is away
		h.Errorf("told was %+v", told)
	}
	h.kill()
	var at raid.LostCursor
	for more := true; more; {
		var err error
		at, more, err = h.MarkLost(h.ctx, at, 5)
		h.must(err)
	}
	for _, p := range h.parts(f) {
		for _, c := range p.Copies {
			if c.Bad != (c.Node == "n0" || c.Node == "") {
				h.Errorf("after its node was removed: %+v", c)
			}
		}
	}
	if !h.Gone("n0") || len(h.repairs(10)) == 0 {
		h.Errorf("gone: %t, %d parts to be repaired", h.Gone("n0"), len(h.repairs(10)))
	}
	if got := h.removals(); slices.ContainsFunc(got, func(s string) bool { return s[len(s)-2:] == "n0" }) {
		h.Errorf("to be removed from it are %v", got)
	}
	h.kill()
	if !h.Gone("n0") {
		h.Error("it is back")
	}
}

// join records a member with a key of its own.
func (h *harness) join(id raid.NodeID, key byte) raid.Member {
	h.Helper()
	m, err := h.Join(h.ctx, raid.Member{ID: id, Name: "pi-" + string(id), Key: raid.KeyPin{key}}, raid.TokenUse{Token: "of " + string(id), Uses: 1})
	h.must(err)
	return m
}

func (h *harness) member(id raid.NodeID) raid.Member {
	h.Helper()
	all, err := h.Members(h.ctx)
	h.must(err)
	if i := slices.IndexFunc(all, func(m raid.Member) bool { return m.ID == id }); i >= 0 {
		return all[i]
	}
	return raid.Member{}
}

func testMembers(h *harness) {
	m := h.join("n1", 1)
	if m.Key != (raid.KeyPin{1}) || m.Name != "pi-n1" || m.Issued == "" || h.KeyAge(m) < 0 || h.KeyAge(m) > time.Hour {
		h.Errorf("joined is %+v, its key %v old", m, h.KeyAge(m))
	}
	_, err := h.Join(h.ctx, raid.Member{ID: "n2", Name: "pi-2", Key: raid.KeyPin{2}}, raid.TokenUse{Token: "of n1", Uses: 1})
	h.wants(err, raid.ErrUnauthorized) // no use of the token is left
	if got := h.member("n2"); got != (raid.Member{}) {
		h.Errorf("a member all the same: %+v", got)
	}
	next, err := h.Certify(h.ctx, "n1", raid.KeyPin{9})
	if h.must(err); next.Key != m.Key || next.Next != (raid.KeyPin{9}) {
		h.Errorf("certified is %+v", next)
	}
	h.kill()
	if got := h.member("n1"); got != next || !h.Remembers("n1") {
		h.Errorf("%+v, want %+v", got, next)
	}
	h.must(h.Promote(h.ctx, "n1", raid.KeyPin{9}))
	h.must(h.Promote(h.ctx, "n1", raid.KeyPin{9}))
	h.kill()
	if got := h.member("n1"); got.Key != (raid.KeyPin{9}) || got.Next != (raid.KeyPin{}) {
		h.Errorf("promoted is %+v", got)
	}
	again, err := h.Rekey(h.ctx, raid.Member{ID: "n1", Name: "pi-1", Key: raid.KeyPin{5}}, raid.TokenUse{Token: "again", Uses: 1})
	if h.must(err); again.Key != (raid.KeyPin{5}) {
		h.Errorf("joined again is %+v", again)
	}
	if who, err := h.TokenUsers(h.ctx, "of n1"); err != nil || !slices.Equal(who, []string{"pi-n1"}) {
		h.Errorf("the token was used by %v, %v", who, err)
	}
}

func testAccess(h *harness) {
	keep, err := h.CreateToken(h.ctx, raid.AccessToken{ID: "aaaaaaaa", Name: "laptop", Scope: raid.ScopeWrite, SHA256: [32]byte{4}}, 0)
	h.must(err)
	short, err := h.CreateToken(h.ctx, raid.AccessToken{ID: "bbbbbbbb", Name: "guest", Scope: raid.ScopeRead}, time.Second)
	h.must(err)
	gone, err := h.CreateToken(h.ctx, raid.AccessToken{ID: "cccccccc", Name: "lost phone", Scope: raid.ScopeRead}, 0)
	h.must(err)
	if _, err := h.CreateToken(h.ctx, raid.AccessToken{ID: "aaaaaaaa", Name: "twice", Scope: raid.ScopeRead}, 0); err == nil {
		h.Error("one id is given to two tokens")
	}
	h.must(h.RevokeToken(h.ctx, gone.ID))
	h.wants(h.RevokeToken(h.ctx, "dddddddd"), raid.ErrNotFound)
	time.Sleep(2100 * time.Millisecond) // ends are kept in seconds
	h.must(h.NoteExpired(h.ctx))
	for range 2 {
		if k, ok := h.Token(keep.ID); !ok || k.Name != "laptop" || k.Scope != raid.ScopeWrite || k.SHA256 != keep.SHA256 || k.Expired || k.Revoked {
			h.Errorf("%t %+v", ok, k)
		}
		if k, ok := h.Token(short.ID); ok && !k.Expired {
			h.Errorf("it has not expired: %+v", k)
		}
		if k, ok := h.Token(gone.ID); ok && !k.Revoked {
			h.Errorf("it is not revoked: %+v", k)
		}
		if all := h.Tokens(); len(all) == 0 || all[0].ID != keep.ID {
			h.Errorf("the oldest of %+v is another", all)
		}
		h.kill()
	}
}

func testReach(h *harness) {
	f := h.store(1) // part 1 on n0 and n1, part 2 on n1 and n2
	h.countAll()
	but := func(away ...raid.NodeID) func(raid.NodeID) bool {
		return func(id raid.NodeID) bool { return !slices.Contains(away, id) }
	}
	for what, c := range map[string]struct {
		away []raid.NodeID
		want raid.Reach
	}{
		"all are there": {nil, raid.Reach{}},
		"one is away":   {[]raid.NodeID{"n0"}, raid.Reach{OneCopy: 1}},
		"two are away":  {[]raid.NodeID{"n0", "n1"}, raid.Reach{None: 1}},
		"another is":    {[]raid.NodeID{"n3"}, raid.Reach{}},
	} {
		if got := h.Reach(but(c.away...), false); got.OneCopy != c.want.OneCopy || got.None != c.want.None || got.Partial {
			h.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
	if w := h.Without("n1", everywhere, false); w.Files != 1 || w.OneCopy != 1 || w.Stops != 0 {
		h.Errorf("without n1 %+v", w)
	}
	if w := h.Without("n1", but("n0"), false); w.Stops != 1 || w.None != 1 {
		h.Errorf("without n1, while n0 is away, %+v", w)
	}
	if h.MayHave(1, everywhere) || !h.MayHave(1, but("n0")) || !h.MayHave(0, but("n0", "n1")) {
		h.Error("whether a part has only so many copies within reach, and others beyond, is told wrong")
	}
	h.must(h.Delete(h.ctx, f.ID))
	if got := h.Reach(but("n0", "n1"), false); got.None != 0 {
		h.Errorf("of a deleted file %+v", got)
	}
	if w := h.Without("n1", but("n0"), false); w.TrashStops != 1 || w.Trash != 1 {
		h.Errorf("without n1 for the trash %+v", w)
	}
}

func testEvents(h *harness) {
	var pending []raid.Event
	var durable int64
	h.CarryEvents(func() []raid.Event { return pending }, func(upTo int64) {
		durable = upTo
		pending = slices.DeleteFunc(pending, func(e raid.Event) bool { return e.Seq <= upTo })
	})
	add := func(text string) int64 {
		h.Helper()
		seq, ok := h.NextEvent()
		if !ok {
			h.Fatal("no number is left")
		}
		pending = append(pending, raid.Event{Seq: seq, At: time.Unix(1_700_000_000, 0).UTC(), Kind: raid.NodeUp, Node: "n1", Text: text})
		return seq
	}
	first := add("a")
	h.store(1) // takes it along
	if durable != first {
		h.Errorf("durable up to %d, want %d", durable, first)
	}
	second := add("b")
	h.must(h.KeepEvents(h.ctx))
	h.CarryEvents(func() []raid.Event { return nil }, func(int64) {})
	h.kill()
	if all, err := h.Events(h.ctx, 0, 10); err != nil || len(all) != 2 || all[0].Seq != first || all[0].Text != "a" || all[1].Seq != second {
		h.Errorf("events are %+v, %v", all, err)
	}
	if some, err := h.Events(h.ctx, first, 10); err != nil || len(some) != 1 || some[0].Text != "b" {
		h.Errorf("after the first come %+v, %v", some, err)
	}
	if last, err := h.LastEvents(h.ctx, 1); err != nil || len(last) != 1 || last[0].Seq != second {
		h.Errorf("the last is %+v, %v", last, err)
	}
	if seq, ok := h.NextEvent(); !ok || seq <= second {
		h.Errorf("the next number is %d, %t", seq, ok)
	}
	_ = h.FormerProgram() // of an earlier start, whatever that was
}

func testCommits(h *harness) {
	array, run := h.Array(), h.Catalog.Run()
	h.must(h.ProveWith(h.ctx, [32]byte{1, 2, 3}))
	var seen []uint64
	for i := range 4 {
		before := h.Commit()
		h.store(1)
		now := h.Commit()
		if now <= before {
			h.Fatalf("commit %d after %d", now, before)
		}
		seen = append(seen, now)
		proof := h.Prove(now)
		if !h.Genuine(raid.Commit{Number: now, MAC: proof}) || h.Genuine(raid.Commit{Number: now + 1, MAC: proof}) || h.Genuine(raid.Commit{Number: now}) {
			h.Errorf("the proof of commit %d proves something else", now)
		}
		if i%2 == 0 {
			h.restart()
		} else {
			h.kill()
		}
		h.must(h.ProveWith(h.ctx, [32]byte{9})) // the first key stays
		if h.Prove(now) != proof {
			h.Errorf("commit %d has another proof after a start", now)
		}
	}
	for _, c := range append(seen, 0) {
		if !h.Knows(c) {
			h.Errorf("commit %d is not known", c)
		}
	}
	if h.Knows(h.Commit()+1<<30) || !h.Possible(h.Commit()) {
		h.Error("commits of the future are known, or the present is not possible")
	}
	if h.Array() != array || h.Catalog.Run() != run+4 {
		h.Errorf("array %s, run %d; at first %s, %d", h.Array(), h.Catalog.Run(), array, run)
	}
	h.must(h.WriterMoves(h.ctx))
	h.must(h.ReaderMoves(h.ctx))
	h.must(h.Damaged())
	select {
	case <-h.Cleared():
		h.must(h.Vouched())
	case <-time.After(time.Minute):
		h.Errorf("its word counts for nothing: %v", h.Vouched())
	}
}
