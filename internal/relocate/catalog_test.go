package relocate

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// house is a Relocator over a real catalog, and nodes that do what they are told.
type house struct {
	*Relocator
	t       *testing.T
	catalog *catalog.Catalog
	nodes   []raid.NodeInfo
	removed []raid.NodeID
	even    int64 // moves that were made for balance alone, as those who make them are told
	changed chan struct{}
}

func newHouse(t *testing.T, zones ...string) *house {
	c, err := catalog.Open(t.Context(), catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db"), Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	h := &house{t: t, catalog: c, changed: make(chan struct{})}
	for i, zone := range zones {
		h.nodes = append(h.nodes, raid.NodeInfo{ID: raid.NodeID(string(rune('a' + i))), Kind: raid.Native, State: raid.Up, Zone: zone})
	}
	h.again()
	return h
}

// again begins another life of the controller.
func (h *house) again() {
	h.Relocator = New(Config{
		Log:    slog.New(slog.DiscardHandler),
		Record: h.catalog, Wishes: h.catalog, Array: h, Copies: 2, Lost: func(raid.NodeID) bool { return false },
		Uploads: func() func() bool { return func() bool { return true } },
		Remove:  func(_ context.Context, id raid.NodeID) error { h.removed = append(h.removed, id); return nil },
	})
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// Nodes implements Array: who drains is what the catalog says.
func (h *house) Nodes() []raid.NodeInfo {
	all := slices.Clone(h.nodes)
	for i := range all {
		if rec, known := h.catalog.Node(all[i].ID); known {
			all[i].Relocation = rec.Relocation
		}
	}
	return all
}

func (h *house) Candidates() (all []placement.Candidate) {
	for _, n := range h.Nodes() {
		if !n.Draining {
			all = append(all, placement.Candidate{ID: n.ID, Zone: n.Zone, Free: 1 << 30})
		}
	}
	return all
}

func (h *house) Changed() <-chan struct{} { return h.changed }

func (h *house) Reconsider(raid.NodeID) {}

// store keeps a file with both its parts on two nodes.
func (h *house) store(on ...raid.NodeID) raid.FileID {
	h.t.Helper()
	id, err := h.catalog.NextID(h.t.Context())
	h.must(err)
	upload, err := raid.NewUploadID(h.catalog.Run(), rand.Reader)
	h.must(err)
	fin := raid.FinishedUpload{File: raid.File{ID: id, Upload: upload, Filename: "x", Created: "2026-01-02 03:04:05", Size: 2 << 20, Level: "raid1", StripeSize: 2 << 20, Stripes: 1}}
	for p := 1; p <= 2; p++ {
		fin.Parts = append(fin.Parts, raid.Part{Number: p, Length: 1 << 20, Copies: []raid.Copy{{Index: 1, Attempt: 1, Node: on[0]}, {Index: 2, Attempt: 2, Node: on[1]}}})
	}
	_, err = h.catalog.Finish(h.t.Context(), fin)
	h.must(err)
	return id
}

// move makes so many moves that are wished, as package repair does, and returns how many
// it made. No part ever has both copies on one node.
func (h *house) move(most int) (moved int) {
	h.t.Helper()
	parts, _, _, err := h.catalog.PartsOn(h.t.Context(), h.Sources(), raid.PartCursor{}, 10_000)
	h.must(err)
	for _, w := range parts {
		m, end, found := h.Begin(&w.Part)
		if !found || moved == most {
			if found {
				end(raid.Copy{}, false)
			}
			continue
		}
		to := raid.NodeID("")
		for _, n := range h.nodes {
			if m.Fits(n.ID) {
				to = n.ID
			}
		}
		if to == "" || slices.ContainsFunc(w.Part.Copies, func(c raid.Copy) bool { return c.Node == to }) {
			h.t.Fatalf("from %s to %q, and the part is on %+v", m.Old.Node, to, w.Part.Copies)
		}
		if m.Even {
			h.even++
		}
		n, err := h.catalog.NextAttempt(h.t.Context(), w.File, w.Part.Stripe, w.Part.Number, to)
		h.must(err)
		fresh := raid.Copy{Index: m.Old.Index, Attempt: n, Node: to}
		h.must(h.catalog.ReplaceCopy(h.t.Context(), w.File, w.Part.Stripe, w.Part.Number, m.Old, fresh))
		end(fresh, true)
		moved++
	}
	return moved
}

// look has the Relocator look once.
func (h *house) look() {
	h.t.Helper()
	_, err := h.Relocator.look(h.t.Context())
	h.must(err)
}

// unlink has a node delete what it is to.
func (h *house) unlink(id raid.NodeID) {
	h.t.Helper()
	all, err := h.catalog.Removals(h.t.Context(), id, 10_000)
	h.must(err)
	h.must(h.catalog.Removed(h.t.Context(), all))
}

// A drain goes on after a restart, takes what is in the trash along, and ends when nothing
// rests on the node and its chunks are deleted: then all can be put back without it.
func TestADrainOverARealCatalog(t *testing.T) {
	h := newHouse(t, "", "", "")
	var deleted []raid.FileID
	for i := range 20 {
		id := h.store([]raid.NodeID{"a", "b", "c"}[i%3], []raid.NodeID{"b", "c", "a"}[i%3])
		if i%4 == 0 {
			h.must(h.catalog.Delete(t.Context(), id))
			deleted = append(deleted, id)
		}
	}
	h.must(h.Drain(t.Context(), "a"))
	h.look()
	rests := h.catalog.Resting("a")
	if drain, _, _ := h.Left(); rests.Files == 0 || rests.Trash == 0 || drain.Parts == 0 {
		t.Fatalf("on a rest %+v, and %+v are left to move", rests, drain)
	}
	if moved := h.move(5); moved != 5 {
		t.Fatalf("%d copies moved", moved)
	}
	h.again()
	h.look()
	for h.move(1000) > 0 {
		h.look()
	}
	if !h.catalog.Resting("a").None() {
		t.Fatalf("on a rest %+v: %s", h.catalog.Resting("a"), h.State("a"))
	}
	if rec, _ := h.catalog.Node("a"); rec.Drained {
		t.Error("a is called empty, and has chunks to delete")
	}
	h.unlink("a")
	h.look()
	if rec, _ := h.catalog.Node("a"); !rec.Drained || h.removed != nil {
		t.Errorf("%+v, removed %v: %s", rec, h.removed, h.State("a"))
	}
	h.must(h.catalog.RemoveNode(t.Context(), "a", nil, nil))
	for _, id := range deleted {
		if _, err := h.catalog.Undelete(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if r := h.catalog.Reach(func(id raid.NodeID) bool { return id != "a" }, false); r.None != 0 || r.OneCopy != 0 {
		t.Errorf("without a: %+v", r)
	}
}

// What is in one zone moves to another, and copies move to a node that was added, until
// nothing moves any more.
func TestZonesAndBalanceOverARealCatalog(t *testing.T) {
	for name, zones := range map[string][]string{"zones": {"attic", "attic", "cellar"}, "balance": {"", "", ""}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, zones...)
			for range 60 {
				h.store("a", "b")
			}
			all := 0
			for h.look(); ; h.look() {
				moved := h.move(1000)
				if all += moved; moved == 0 {
					break
				}
				if all > 1000 {
					t.Fatal("it does not come to an end")
				}
			}
			got := h.catalog.Resting("c").Files
			if name == "zones" && (got != 60 || h.Totals()[Zone].Parts != 120) || name == "balance" && (got < 30 || h.Totals()[Balance].Parts == 0) {
				t.Errorf("%d files rest on the new node after %d moves: %+v", got, all, h.Totals())
			}
			if h.even != h.Totals()[Balance].Parts {
				t.Errorf("%d moves are told to be for balance: %+v", h.even, h.Totals())
			}
			if drain, zone, balance := h.Left(); drain != (Amount{}) || zone != (Amount{}) || balance != (Amount{}) {
				t.Errorf("left are %+v, %+v, %+v", drain, zone, balance)
			}
			if r := h.catalog.Reach(func(raid.NodeID) bool { return true }, false); r.None+r.OneCopy != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}
