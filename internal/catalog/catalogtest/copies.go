package catalogtest

import (
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

func testRemovals(h *harness) {
	f := h.store(2)
	parts := h.parts(f)
	var all []raid.Removal
	for _, p := range parts {
		for _, c := range p.Copies {
			all = append(all, raid.Removal{Node: c.Node, Key: p.Key(f.Upload, raid.Copy{Attempt: 900 + c.Attempt})})
		}
	}
	h.must(h.Record(h.ctx, all))
	h.must(h.Record(h.ctx, all[:2])) // once more is as good
	h.kill()
	if got := h.removals(); len(got) != len(all) {
		h.Errorf("%d chunks are to be removed, want %d: %v", len(got), len(all), got)
	}
	some, err := h.Removals(h.ctx, "n1", 1)
	if h.must(err); len(some) != 1 || some[0].Node != "n1" {
		h.Errorf("of node n1 %+v", some)
	}
	h.must(h.Removed(h.ctx, all[:3]))
	h.must(h.Removed(h.ctx, all[:3]))
	h.kill()
	if got := h.removals(); len(got) != len(all)-3 {
		h.Errorf("%d chunks are left, want %d", len(got), len(all)-3)
	}
	if n, err := h.Counts(h.ctx); err != nil || n.Removals != int64(len(all)-3) {
		h.Errorf("%+v, %v", n, err)
	}
}

func (h *harness) repairs(limit int) (all []raid.Repair) {
	h.Helper()
	var after raid.PartCursor
	for {
		page, err := h.Repairs(h.ctx, after, limit)
		h.must(err)
		if len(page) == 0 {
			return all
		}
		all, after = append(all, page...), page[len(page)-1].Cursor()
	}
}

func testRepair(h *harness) {
	f, other := h.store(6), h.store(1)
	parts := h.parts(f)
	for i := range parts {
		if i%2 == 0 {
			c := parts[i].Copies[1]
			h.must(h.MarkBad(h.ctx, f.ID, parts[i].Stripe, parts[i].Number, c.Index, c.Attempt))
			h.must(h.MarkBad(h.ctx, f.ID, parts[i].Stripe, parts[i].Number, c.Index, c.Attempt+5)) // of another attempt
		}
	}
	h.kill()
	flawed := h.repairs(2)
	if len(flawed) != len(parts)/2 || !slices.IsSortedFunc(flawed, func(a, b raid.Repair) int { return int(a.Part.Stripe - b.Part.Stripe) }) {
		h.Fatalf("%d parts are to be repaired, want %d: %+v", len(flawed), len(parts)/2, flawed)
	}
	if n, err := h.Counts(h.ctx); err != nil || n.Degraded != 1 {
		h.Errorf("%+v, %v", n, err)
	}
	for i, r := range flawed {
		old := r.Part.Copies[1]
		if r.File != f.ID || !old.Bad || r.Part.Copies[0].Bad {
			h.Fatalf("to be repaired is %+v", r)
		}
		n, err := h.NextAttempt(h.ctx, f.ID, r.Part.Stripe, r.Part.Number, "n9")
		h.must(err)
		fresh := raid.Copy{Index: old.Index, Attempt: n, Node: "n9"}
		h.must(h.ReplaceCopy(h.ctx, f.ID, r.Part.Stripe, r.Part.Number, old, fresh))
		if i == 0 {
			h.kill()
		}
		now, err := h.Parts(h.ctx, f.ID, r.Part.Stripe, r.Part.Stripe+1)
		h.must(err)
		if got := now[r.Part.Number-1].Copies[1]; got != fresh {
			h.Errorf("the new copy is %+v, want %+v", got, fresh)
		}
		if !slices.Contains(h.removals(), nameOf(old.Node, r.Part.Key(f.Upload, old))) {
			h.Errorf("the chunk of %+v is not to be removed", old)
		}
	}
	if n, err := h.Counts(h.ctx); err != nil || n.Degraded != 0 || len(h.repairs(10)) != 0 {
		h.Errorf("%+v, %v, and %d parts are to be repaired", n, err, len(h.repairs(10)))
	}
	ids := []raid.CopyID{{File: other.ID, Part: 1, Index: 1, Attempt: 1}, {File: other.ID, Part: 2, Index: 1, Attempt: 7}, {File: 1 << 40, Part: 1, Index: 1, Attempt: 1}}
	if marked, err := h.MarkAllBad(h.ctx, ids); err != nil || !slices.Equal(marked, ids[:1]) {
		h.Errorf("marked are %+v, %v", marked, err)
	}
	if marked, err := h.MarkAllBad(h.ctx, ids); err != nil || len(marked) != 0 {
		h.Errorf("marked once more are %+v, %v", marked, err)
	}
}

// lose replaces all copies of a file on n0, which is away for long.
func (h *harness) lose(f raid.File) (lost []raid.Part) {
	h.Helper()
	for _, p := range h.parts(f) {
		for _, c := range p.Copies {
			if c.Node == "n0" {
				n, err := h.NextAttempt(h.ctx, f.ID, p.Stripe, p.Number, "n9")
				h.must(err)
				h.must(h.ReplaceLost(h.ctx, f.ID, p.Stripe, p.Number, c, raid.Copy{Index: c.Index, Attempt: n, Node: "n9"}))
				lost = append(lost, p)
			}
		}
	}
	return lost
}

func (h *harness) surplus(limit int) (all []raid.Surplus) {
	h.Helper()
	var at raid.SurplusCursor
	for more := true; more; {
		page, next, m, err := h.Surpluses(h.ctx, "n0", at, limit)
		h.must(err)
		all, at, more = append(all, page...), next, m
	}
	return all
}

func testSurplus(h *harness) {
	f := h.store(8)
	lost := h.lose(f)
	h.kill()
	all := h.surplus(2)
	copies, bytes, _, _, err := h.CountSurplus(h.ctx, "n0", raid.SurplusCursor{}, 1000)
	if h.must(err); len(all) != len(lost) || copies != int64(len(lost)) || bytes != int64(len(lost))*partLength {
		h.Fatalf("%d surplus copies, counted as %d of %d bytes; want %d", len(all), copies, bytes, len(lost))
	}
	if len(h.removals()) != 0 {
		h.Error("something is to be removed")
	}
	for _, s := range all {
		if s.File != f.ID || s.Copy.Node != "n0" || slices.ContainsFunc(s.Part.Copies, func(c raid.Copy) bool { return c.Node == "n0" }) {
			h.Errorf("surplus is %+v", s)
		}
	}
	goes, stays, stale := all[0], all[1], all[2]
	stale.Part.Copies = slices.Clone(stale.Part.Copies)
	stale.Part.Copies[0].Attempt += 7 // as a list says that was read before
	given := []raid.Settlement{{Surplus: goes}, {Surplus: stays, Instead: stays.Part.Copies[0].Index}, {Surplus: stale}}
	done, err := h.SettleSurplus(h.ctx, given)
	if h.must(err); !slices.Equal(done, []bool{true, true, false}) {
		h.Errorf("settled are %v", done)
	}
	h.kill()
	want := []string{nameOf("n0", goes.Part.Key(f.Upload, goes.Copy)), nameOf(stays.Part.Copies[0].Node, stays.Part.Key(f.Upload, stays.Part.Copies[0]))}
	slices.Sort(want)
	if got := h.removals(); !slices.Equal(got, want) {
		h.Errorf("to be removed are %v, want %v", got, want)
	}
	now, err := h.Parts(h.ctx, f.ID, stays.Part.Stripe, stays.Part.Stripe+1)
	if h.must(err); !slices.ContainsFunc(now[stays.Part.Number-1].Copies, func(c raid.Copy) bool { return c.Node == "n0" && c.Attempt == stays.Copy.Attempt && !c.Bad }) {
		h.Errorf("it took nobody's place: %+v", now)
	}
	bad := h.surplus(10)[0]
	h.must(h.SurplusBad(h.ctx, bad))
	h.must(h.SurplusBad(h.ctx, goes)) // it is not there any more
	h.must(h.Purge(h.ctx, f.ID))
	h.sweep()
	if got := h.surplus(10); len(got) != 0 {
		h.Errorf("of a file that is gone there are %d surplus copies", len(got))
	}
	if got := h.removals(); !slices.Contains(got, nameOf("n0", bad.Part.Key(f.Upload, bad.Copy))) {
		h.Error("the surplus copies of a file that is gone stay on their node")
	}
}

// held walks through what nodes should hold, in pages of so many copies.
func (h *harness) held(nodes []raid.NodeID, page int, between func()) (all []raid.Held) {
	h.Helper()
	var at raid.PartCursor
	for more := true; more; {
		var err error
		at, more, err = h.EachHeld(h.ctx, nodes, at, page, func(x *raid.Held) { all = append(all, *x) })
		h.must(err)
		between()
	}
	return all
}

func nothing() {}

func testWalks(h *harness) {
	h.must(h.SaveNode(h.ctx, raid.NodeRecord{ID: "n8"}))
	files := []raid.File{h.store(5), h.store(1), h.store(9)}
	want := map[raid.NodeID]map[string]bool{}
	n := 0
	for _, f := range files {
		for _, p := range h.parts(f) {
			for _, c := range p.Copies {
				if want[c.Node] == nil {
					want[c.Node] = map[string]bool{}
				}
				want[c.Node][string(p.Key(f.Upload, c).Name())] = true
				n++
			}
		}
	}
	var nodes []raid.NodeID
	for node := range want {
		nodes = append(nodes, node)
	}
	for _, page := range []int{1, 3, 1000} {
		all := h.held(nodes, page, nothing)
		if len(all) != n {
			h.Errorf("in pages of %d there are %d copies, want %d", page, len(all), n)
		}
		for _, x := range all {
			if key, err := x.Key(); err != nil || !want[x.Node][string(key.Name())] || x.Length != partLength || x.Bad || x.Gone {
				h.Errorf("held is %+v, %v", x, err)
			}
		}
		for node, names := range want {
			var on []string
			var at raid.HeldCursor
			for more := true; more; {
				some, next, m, err := h.HeldOn(h.ctx, node, at, "", page)
				h.must(err)
				for _, x := range some {
					key, err := x.Key()
					h.must(err)
					on = append(on, string(key.Name()))
				}
				at, more = next, m
			}
			if len(on) != len(names) || !slices.IsSorted(on) {
				h.Errorf("in pages of %d node %s holds %v, want %d in order", page, node, on, len(names))
			}
			h.walkParts(node, page, len(names))
		}
	}
	var parts, bytes int64
	var at raid.PartCursor
	for more := true; more; {
		sums, next, m, err := h.Holdings(h.ctx, at, 5)
		h.must(err)
		for _, s := range sums {
			if parts, bytes = parts+s.Parts, bytes+s.Bytes; len(s.Nodes) != 2 {
				h.Errorf("a part is on %v", s.Nodes)
			}
		}
		at, more = next, m
	}
	if parts != int64(n)/2 || bytes != parts*partLength {
		h.Errorf("summed up are %d parts of %d bytes, want %d", parts, bytes, n/2)
	}
	p := h.parts(files[0])[0]
	keys := []raid.ChunkKey{p.Key(files[0].Upload, p.Copies[0]), p.Key(files[0].Upload, p.Copies[1]), p.Key(files[0].Upload, raid.Copy{Attempt: 9})}
	named, copies, err := h.Named(h.ctx, p.Copies[0].Node, keys)
	if h.must(err); len(named) != 1 || named[0].File != files[0].ID || copies[0] != p.Copies[0] {
		h.Errorf("named are %+v, %+v", named, copies)
	}
}

// walkParts walks through the parts on a node, and counts them.
func (h *harness) walkParts(node raid.NodeID, page, want int) {
	h.Helper()
	var found, counted, bytes int
	var at raid.PartCursor
	for more := true; more; {
		some, next, m, err := h.PartsOn(h.ctx, []raid.NodeID{node}, at, page)
		h.must(err)
		for _, r := range some {
			if found++; !slices.ContainsFunc(r.Part.Copies, func(c raid.Copy) bool { return c.Node == node }) {
				h.Errorf("on node %s is %+v", node, r)
			}
		}
		at, more = next, m
	}
	at = raid.PartCursor{}
	for more := true; more; {
		copies, size, next, m, err := h.CountOn(h.ctx, []raid.NodeID{node}, at, page)
		h.must(err)
		counted, bytes, at, more = counted+int(copies), bytes+int(size), next, m
	}
	if found != want || counted != want || bytes != want*partLength {
		h.Errorf("in pages of %d node %s has %d parts, counted as %d of %d bytes; want %d", page, node, found, counted, bytes, want)
	}
}

func testWalksUnderChange(h *harness) {
	var files []raid.File
	for range 20 {
		files = append(files, h.store(2))
	}
	turn := 0
	all := h.held([]raid.NodeID{"n0", "n1", "n2", "n3"}, 6, func() {
		if turn < 10 { // behind the cursor and before it
			h.must(h.Purge(h.ctx, files[2*turn].ID))
			h.store(1)
			h.sweep()
		}
		turn++
	})
	seen := map[raid.FileID]int{}
	last := raid.PartCursor{}
	for _, x := range all {
		now := raid.PartCursor{File: x.File, Stripe: x.Stripe, Part: x.Part}
		if now.File < last.File || now.File == last.File && (now.Stripe < last.Stripe || now.Stripe == last.Stripe && now.Part < last.Part) {
			h.Errorf("%+v comes after %+v", now, last)
		}
		seen[x.File], last = seen[x.File]+1, now
	}
	for i, f := range files {
		if i%2 == 1 && seen[f.ID] != 8 {
			h.Errorf("of file %d, which was there all the time, %d copies were seen, want 8", f.ID, seen[f.ID])
		}
	}
}

func testEvidence(h *harness) {
	f := h.store(1)
	p := h.parts(f)[0]
	deleted := h.store(1)
	q := h.parts(deleted)[0]
	h.must(h.Purge(h.ctx, deleted.ID))
	h.sweep()
	coming, err := h.NextAttempt(h.ctx, f.ID, 0, 1, "n3")
	h.must(err)
	stranger := h.fresh(1).File.Upload
	cases := []struct {
		what      string
		node      raid.NodeID
		key       raid.ChunkKey
		explained bool
	}{
		{"a copy", p.Copies[0].Node, p.Key(f.Upload, p.Copies[0]), true},
		{"a copy on another node", "n3", p.Key(f.Upload, p.Copies[0]), false},
		{"a removal", q.Copies[0].Node, q.Key(deleted.Upload, q.Copies[0]), true},
		{"a copy on its way", "n3", p.Key(f.Upload, raid.Copy{Attempt: coming}), true},
		{"an attempt that nobody made", p.Copies[0].Node, p.Key(f.Upload, raid.Copy{Attempt: 77}), false},
		{"an upload that nobody made", "n0", raid.ChunkKey{Upload: stranger, Part: 1, Attempt: 1}, false},
	}
	for _, c := range cases {
		left, err := h.Unexplained(h.ctx, c.node, []raid.ChunkKey{c.key})
		if h.must(err); (len(left) == 0) != c.explained {
			h.Errorf("%s is explained: %t", c.what, len(left) == 0)
		}
	}
	if unknown, err := h.UnknownUploads(h.ctx, []raid.UploadID{f.Upload, deleted.Upload, stranger}); err != nil || len(unknown) != 0 {
		h.Errorf("of this run %v are unknown, %v", unknown, err) // uploads under way have no row
	}
	h.restart()
	if unknown, err := h.UnknownUploads(h.ctx, []raid.UploadID{f.Upload, stranger}); err != nil || !slices.Equal(unknown, []raid.UploadID{stranger}) {
		h.Errorf("unknown are %v, %v", unknown, err)
	}
	traces, err := h.Traces(h.ctx, map[raid.UploadID][]raid.FileID{stranger: {f.ID}})
	if err != nil || traces[stranger] == "" {
		h.Errorf("of a chunk that says to be of file %d there is no trace: %v, %v", f.ID, traces, err)
	}
	if traces, err := h.Traces(h.ctx, map[raid.UploadID][]raid.FileID{stranger: nil}); err != nil || traces[stranger] != "" {
		h.Errorf("of a chunk that says nothing: %v, %v", traces, err)
	}
}
