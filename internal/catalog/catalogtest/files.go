package catalogtest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func testUpload(h *harness) {
	f := h.begin(5)
	if _, err := h.File(h.ctx, f.File.ID); err == nil || len(h.ids(raid.FileQuery{})) != 0 {
		h.Error("an upload under way is a file")
	}
	h.must(h.Append(h.ctx, f.File.ID, f.Parts[:4]))
	all := slices.Clone(f.Parts)
	f.Parts = f.Parts[4:]
	before := slices.Clone(f.Parts)
	got, err := h.Finish(h.ctx, f)
	h.must(err)
	if !reflect.DeepEqual(f.Parts, before) {
		h.Error("Finish has changed what it was given")
	}
	for _, look := range []string{"at once", "after a start"} {
		if look != "at once" {
			h.restart()
		}
		for name, ask := range map[string]func() (raid.File, error){
			"File":   func() (raid.File, error) { return h.File(h.ctx, f.File.ID) },
			"Stored": func() (raid.File, error) { return h.Stored(h.ctx, f.File.ID) },
			"Finish": func() (raid.File, error) { return got, nil },
		} {
			found, err := ask()
			h.must(err)
			found.PartNames = nil
			if !reflect.DeepEqual(found, f.File) {
				h.Errorf("%s, %s: %+v, want %+v", name, look, found, f.File)
			}
		}
		if parts := h.parts(f.File); !reflect.DeepEqual(parts, all) {
			h.Errorf("%s: parts %+v, want %+v", look, parts, all)
		}
		parts, err := h.Parts(h.ctx, f.File.ID, 1, 3)
		if h.must(err); !reflect.DeepEqual(parts, all[2:6]) {
			h.Errorf("%s: stripes 1 and 2 are %+v", look, parts)
		}
		for part := 1; part <= 2; part++ {
			var names, want []raid.ChunkName
			for n, err := range h.Names(h.ctx, f.File, part) {
				h.must(err)
				names = append(names, n)
			}
			for _, p := range all {
				for _, c := range p.Copies {
					if p.Number == part {
						want = append(want, p.Key(f.File.Upload, c).Name())
					}
				}
			}
			slices.Sort(names)
			slices.Sort(want)
			if !slices.Equal(names, want) {
				h.Errorf("%s: the names of part %d are %v, want %v", look, part, names, want)
			}
		}
		nodes, err := h.NodesOf(h.ctx, f.File.ID)
		if slices.Sort(nodes); err != nil || !slices.Equal(nodes, []raid.NodeID{"n0", "n1", "n2", "n3"}) {
			h.Errorf("%s: its copies are on %v, %v", look, nodes, err)
		}
		if first, err := h.FirstCreated(h.ctx); err != nil || first != created {
			h.Errorf("%s: the first file was created %q, %v", look, first, err)
		}
		if n, err := h.Counts(h.ctx); err != nil || n.Files != 1 || n.Bytes != f.File.Size || n.Degraded != 0 || n.Removals != 0 {
			h.Errorf("%s: %+v, %v", look, n, err)
		}
	}
}

func testAbandon(h *harness) {
	f := h.begin(2)
	h.must(h.Append(h.ctx, f.File.ID, f.Parts[:2]))
	extra := raid.Removal{Node: "n9", Key: raid.ChunkKey{Upload: f.File.Upload, Stripe: 1, Part: 1, Attempt: 3}}
	h.must(h.Abandon(h.ctx, f.File, []raid.Removal{extra}))
	h.sweep()
	want := append(chunksOf(f.File.Upload, f.Parts[:2]), nameOf(extra.Node, extra.Key))
	slices.Sort(want)
	if got := h.removals(); !slices.Equal(got, want) {
		h.Errorf("to be removed are %v, want %v", got, want)
	}
	if _, err := h.Finish(h.ctx, f); err == nil {
		h.Error("it can be finished all the same")
	}
	file := h.store(1)
	_ = h.Abandon(h.ctx, file, nil) // whose outcome was not known may be a file
	h.sweep()
	if ids := h.ids(raid.FileQuery{}); !slices.Equal(ids, []raid.FileID{file.ID}) {
		h.Errorf("files are %v, want %d", ids, file.ID)
	}
}

func testUnfinished(h *harness) {
	f := h.begin(2)
	h.must(h.Append(h.ctx, f.File.ID, f.Parts))
	kept := h.store(1)
	if n, err := h.AbandonUnfinished(h.ctx); err != nil || n != 0 {
		h.Errorf("%d uploads of this run are given up, %v", n, err)
	}
	h.kill()
	if n, err := h.AbandonUnfinished(h.ctx); err != nil || n != 1 {
		h.Errorf("%d uploads are given up, %v", n, err)
	}
	h.sweep()
	if got := h.removals(); !slices.Equal(got, chunksOf(f.File.Upload, f.Parts)) {
		h.Errorf("to be removed are %v", got)
	}
	if ids := h.ids(raid.FileQuery{}); !slices.Equal(ids, []raid.FileID{kept.ID}) {
		h.Errorf("files are %v", ids)
	}
}

func testIDs(h *harness) {
	seen := map[raid.FileID]bool{}
	var last raid.FileID
	for i := range 30 {
		id, err := h.NextID(h.ctx)
		h.must(err)
		if seen[id] || id <= last {
			h.Fatalf("id %d after %d", id, last)
		}
		seen[id], last = true, id
		switch i % 10 {
		case 3:
			f := h.store(1)
			h.must(h.Purge(h.ctx, f.ID))
			h.sweep()
			seen[f.ID], last = true, f.ID
		case 6:
			h.restart()
		case 9:
			h.kill()
		}
	}
	f := h.store(1)
	attempts := map[int]bool{1: true, 2: true}
	for i := range 6 {
		n, err := h.NextAttempt(h.ctx, f.ID, 0, 1, "n3")
		h.must(err)
		if attempts[n] {
			h.Fatalf("attempt %d is given out twice", n)
		}
		attempts[n] = true
		if i%2 == 1 {
			h.kill()
		}
	}
	if arriving, err := h.Intends(h.ctx, "n3"); err != nil || !arriving {
		h.Errorf("a copy is on its way: %t, %v", arriving, err)
	}
	if n, err := h.ResolveIntents(h.ctx); err != nil || n == 0 {
		h.Errorf("%d copies that were on their way are given up, %v", n, err)
	}
	if arriving, err := h.Intends(h.ctx, "n3"); err != nil || arriving {
		h.Errorf("a copy is on its way after that: %t, %v", arriving, err)
	}
}

func testIdempotency(h *harness) {
	f := h.fresh(1)
	f.Idempotency = &raid.IdempotencyKey{Key: "once", Fingerprint: [32]byte{7}}
	_, err := h.Finish(h.ctx, f)
	h.must(err)
	for range 2 {
		if id, print, ok, err := h.FindKey(h.ctx, "once"); err != nil || !ok || id != f.File.ID || print != f.Idempotency.Fingerprint {
			h.Errorf("found %d %v %t, %v", id, print, ok, err)
		}
		h.kill()
	}
	if _, _, ok, err := h.FindKey(h.ctx, "twice"); ok || err != nil {
		h.Errorf("another key is found: %t, %v", ok, err)
	}
}

func testList(h *harness) {
	var all []raid.FileID
	for range 12 {
		all = append(all, h.store(1).ID)
	}
	h.must(h.Delete(h.ctx, all[4]))
	all = slices.Delete(all, 4, 5)
	name := func(id raid.FileID) string { return fmt.Sprintf("FILE %d.", id) }
	for what, c := range map[string]struct {
		q    raid.FileQuery
		want []raid.FileID
	}{
		"all":         {raid.FileQuery{}, all},
		"limited":     {raid.FileQuery{Limit: 3}, all[:3]},
		"after":       {raid.FileQuery{After: all[6]}, all[7:]},
		"after, two":  {raid.FileQuery{After: all[6], Limit: 2}, all[7:9]},
		"after all":   {raid.FileQuery{After: all[10] + 5}, nil},
		"by name":     {raid.FileQuery{Filename: strings.ToLower(name(all[2]))}, all[2:3]},
		"no such one": {raid.FileQuery{Filename: "nothing is called so"}, nil},
		"lost":        {raid.FileQuery{Lost: true}, nil},
	} {
		if got := h.ids(c.q); !slices.Equal(got, c.want) {
			h.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	f, err := h.File(h.ctx, all[3])
	h.must(err)
	for _, p := range h.parts(f)[:1] {
		for _, c := range p.Copies {
			h.must(h.MarkBad(h.ctx, f.ID, p.Stripe, p.Number, c.Index, c.Attempt))
		}
	}
	if got := h.ids(raid.FileQuery{Lost: true}); !slices.Equal(got, []raid.FileID{f.ID}) {
		h.Errorf("lost is %v, want %d", got, f.ID)
	}
}

func testListUnderChange(h *harness) {
	var stays, all []raid.FileID
	for i := range 60 {
		id := h.store(1).ID
		if all = append(all, id); i%3 > 0 {
			stays = append(stays, id)
		}
	}
	var got []raid.FileID
	for f, err := range h.Files(h.ctx, raid.FileQuery{}) {
		h.must(err)
		if len(got) == 5 { // in the middle of a list files come and go
			for i := 0; i < len(all); i += 3 {
				h.must(h.Delete(h.ctx, all[i]))
			}
			h.store(1)
		}
		got = append(got, f.ID)
	}
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		h.Errorf("listed are %v", got)
	}
	for _, id := range stays {
		if !slices.Contains(got, id) {
			h.Errorf("file %d, which was there all the time, is not listed", id)
		}
	}
}

func testTrash(h *harness) {
	f, other := h.store(3), h.store(1)
	h.must(h.Delete(h.ctx, f.ID))
	for range 2 {
		_, err := h.File(h.ctx, f.ID)
		h.wants(err, raid.ErrNotFound)
		h.wants(h.Delete(h.ctx, f.ID), raid.ErrNotFound)
		if stored, err := h.Stored(h.ctx, f.ID); err != nil || stored.Filename != f.Filename {
			h.Errorf("stored is %+v, %v", stored, err)
		}
		if got := h.ids(raid.FileQuery{}); !slices.Equal(got, []raid.FileID{other.ID}) {
			h.Errorf("listed are %v", got)
		}
		if in, err := h.Trashed(h.ctx, f.ID); err != nil || in.File.ID != f.ID || in.File.Size != f.Size {
			h.Errorf("in the trash is %+v, %v", in, err)
		}
		if got := h.trashed(raid.FileQuery{}); !slices.Equal(got, []raid.FileID{f.ID}) {
			h.Errorf("the trash has %v", got)
		}
		if n, err := h.Counts(h.ctx); err != nil || n.Files != 1 || n.Trash != (raid.TrashTotals{Files: 1, Bytes: f.Size}) {
			h.Errorf("%+v, %v", n, err)
		}
		h.kill()
	}
	back, err := h.Undelete(h.ctx, f.ID)
	if h.must(err); back.ID != f.ID || len(h.ids(raid.FileQuery{})) != 2 || len(h.trashed(raid.FileQuery{})) != 0 {
		h.Errorf("back is %+v", back)
	}
	_, err = h.Undelete(h.ctx, f.ID)
	h.must(err) // once more is as good
	_, err = h.Trashed(h.ctx, f.ID)
	h.wants(err, raid.ErrNotFound)
	_, err = h.Undelete(h.ctx, 1<<40)
	h.wants(err, raid.ErrNotFound)

	parts := h.parts(f)
	h.must(h.Purge(h.ctx, f.ID))
	h.sweep()
	_, err = h.Undelete(h.ctx, f.ID)
	h.wants(err, raid.ErrNotFound)
	if got := h.removals(); !slices.Equal(got, chunksOf(f.Upload, parts)) {
		h.Errorf("to be removed are %v", got)
	}
}

func testDiscard(h *harness) {
	var all []raid.FileID
	for range 6 {
		f := h.store(1)
		h.must(h.Delete(h.ctx, f.ID))
		all = append(all, f.ID)
		time.Sleep(2 * time.Millisecond) // the trash counts milliseconds
	}
	since, some, err := h.Oldest(h.ctx)
	if h.must(err); !some || since > h.Ran() {
		h.Errorf("the oldest is of %v, %t; it ran for %v", since, some, h.Ran())
	}
	if gone, err := h.Discard(h.ctx, raid.Discard{Until: since - time.Millisecond, Limit: 10}); err != nil || gone.Files != 0 {
		h.Errorf("before its time %+v went, %v", gone, err)
	}
	if gone, err := h.Discard(h.ctx, raid.Discard{Until: h.Ran(), Limit: 2}); err != nil || gone.Files != 2 {
		h.Errorf("two may go, and %+v went, %v", gone, err)
	}
	if gone, err := h.Discard(h.ctx, raid.Discard{Until: h.Ran(), Limit: 10, Bytes: 1}); err != nil || gone.Files != 1 {
		h.Errorf("one byte is to go, and %+v went, %v", gone, err)
	}
	h.kill()
	left := h.trashed(raid.FileQuery{})
	if slices.Sort(left); !slices.Equal(left, all[3:]) {
		h.Errorf("left are %v, want %v", left, all[3:])
	}
	ran := h.Ran()
	time.Sleep(5 * time.Millisecond)
	h.must(h.NoteRan(h.ctx, 0))
	h.restart()
	if h.Ran() < ran {
		h.Errorf("it has run for %v, and before its start for %v", h.Ran(), ran)
	}
	if gone, err := h.Discard(h.ctx, raid.Discard{Until: h.Ran() + time.Hour, Limit: 10}); err != nil || gone.Files != 3 {
		h.Errorf("%+v went at the end, %v", gone, err)
	}
	if _, some, err := h.Oldest(h.ctx); err != nil || some {
		h.Errorf("an empty trash has an oldest file: %t, %v", some, err)
	}
}

func testErrors(h *harness) {
	f := h.store(2)
	h.must(h.ProveWith(h.ctx, [32]byte{1}))
	before, commit := h.snapshot(), h.Commit()
	twice := h.fresh(1)
	commit = max(commit, h.Commit())
	twice.File.ID = f.ID
	missing := h.fresh(2)
	missing.Parts = missing.Parts[:3]
	gap := h.fresh(1)
	gap.Parts[1].Copies = nil
	for name, do := range map[string]func() error{
		"a second file under an id": func() error { _, err := h.Finish(h.ctx, twice); return err },
		"a file that lacks a part":  func() error { _, err := h.Finish(h.ctx, missing); return err },
		"a part without a copy":     func() error { _, err := h.Finish(h.ctx, gap); return err },
		"parts for a file":          func() error { return h.Append(h.ctx, f.ID, twice.Parts) },
		"parts for nothing":         func() error { return h.Append(h.ctx, 1<<40, twice.Parts) },
		"a deletion of nothing":     func() error { return h.Delete(h.ctx, 1<<40) },
		"a purge of nothing":        func() error { return h.Purge(h.ctx, 1<<40) },
		"an attempt for nothing":    func() error { _, err := h.NextAttempt(h.ctx, 1<<40, 0, 1, "n0"); return err },
		"a copy of nothing": func() error {
			return h.ReplaceCopy(h.ctx, 1<<40, 0, 1, raid.Copy{Index: 1, Attempt: 1, Node: "n0"}, raid.Copy{Index: 1, Attempt: 1001, Node: "n2"})
		},
		"another copy than the one there": func() error {
			return h.ReplaceCopy(h.ctx, f.ID, 0, 1, raid.Copy{Index: 1, Attempt: 7, Node: "n0"}, raid.Copy{Index: 1, Attempt: 1001, Node: "n2"})
		},
		"a token that is not there": func() error { return h.RevokeToken(h.ctx, "nothing") },
		"a key of nobody":           func() error { return h.Promote(h.ctx, "nobody", raid.KeyPin{1}) },
	} {
		if err := do(); err == nil {
			h.Errorf("%s is taken", name)
		}
	}
	if after := h.snapshot(); !bytes.Equal(after, before) {
		h.Errorf("before\n%s\nand after\n%s", before, after)
	}
	if h.Commit() < commit {
		h.Error("commit numbers go back")
	}
}

// snapshot writes down much of what a catalog says.
func (h *harness) snapshot() []byte {
	h.Helper()
	var b bytes.Buffer
	for f, err := range h.Files(h.ctx, raid.FileQuery{}) {
		h.must(err)
		fmt.Fprintf(&b, "%+v\n%+v\n", f, h.parts(f))
	}
	fmt.Fprintln(&b, h.trashed(raid.FileQuery{}), h.removals())
	n, err := h.Counts(h.ctx)
	h.must(err)
	members, err := h.Members(h.ctx)
	h.must(err)
	nodes, err := h.Nodes(h.ctx)
	h.must(err)
	slices.SortFunc(nodes, func(a, b raid.NodeRecord) int { return strings.Compare(string(a.ID), string(b.ID)) })
	events, err := h.Events(h.ctx, 0, 1000)
	h.must(err)
	fmt.Fprintf(&b, "%+v %+v %+v %+v %+v\n", n, members, nodes, h.Tokens(), events)
	return b.Bytes()
}

func testCrash(h *harness) {
	steps := map[string]func(){
		"upload": func() { h.store(2) },
		"delete": func() { h.must(h.Delete(h.ctx, h.store(1).ID)) },
		"purge":  func() { h.must(h.Purge(h.ctx, h.store(1).ID)) },
		"bad": func() {
			f := h.store(1)
			h.must(h.MarkBad(h.ctx, f.ID, 0, 1, 1, 1))
		},
		"copy": func() {
			f := h.store(1)
			n, err := h.NextAttempt(h.ctx, f.ID, 0, 1, "n3")
			h.must(err)
			h.must(h.ReplaceCopy(h.ctx, f.ID, 0, 1, raid.Copy{Index: 1, Attempt: 1, Node: "n0"}, raid.Copy{Index: 1, Attempt: n, Node: "n3"}))
		},
		"removal": func() {
			h.must(h.Record(h.ctx, []raid.Removal{{Node: "n1", Key: raid.ChunkKey{Upload: h.fresh(1).File.Upload, Part: 1, Attempt: 1}}}))
		},
		"node":   func() { h.must(h.SaveNode(h.ctx, raid.NodeRecord{ID: "n1", Address: fmt.Sprint("pi-1:", h.Commit())})) },
		"member": func() { h.join(raid.NodeID(fmt.Sprint("m", h.Commit())), 1) },
		"token": func() {
			_, err := h.CreateToken(h.ctx, raid.AccessToken{ID: fmt.Sprintf("t%07d", h.Commit()%1e7), Name: "x", Scope: raid.ScopeRead}, 0)
			h.must(err)
		},
	}
	for name, do := range steps {
		do()
		commit, before := h.Commit(), h.snapshot()
		h.kill()
		if after := h.snapshot(); !bytes.Equal(after, before) {
			h.Errorf("after %s and a kill\n%s\nbefore\n%s", name, after, before)
		}
		if h.Commit() < commit || !h.Knows(commit) {
			h.Errorf("after %s and a kill commit %d is not known: it is at %d", name, commit, h.Commit())
		}
	}
}
