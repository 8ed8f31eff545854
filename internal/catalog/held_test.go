package catalog

import (
	"math/rand/v2"
	"slices"
	"testing"

	"database/sql/driver"

	"github.com/raidpi/raidpi/internal/raid"
)

// mixed is a catalog of files of all lengths, some deleted, with bad copies, and of an
// upload under way.
func mixed(t *testing.T) *Catalog {
	c := openTest(t, "")
	for i := range 40 {
		f := store(t, c, 1+int64(i%4)*int64(i%3))
		switch i % 5 {
		case 1:
			must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
		case 2:
			must(t, c.Delete(bg, f.ID))
		}
	}
	store(t, c, 300)
	up := begin(t, c, 50)
	must(t, c.Append(bg, up.File.ID, newParts(0, 40)))
	return c
}

// namesOn are the names that the view of the schema gives a node's chunks.
func namesOn(t *testing.T, c *Catalog, node raid.NodeID) (all, good []string) {
	t.Helper()
	must(t, c.read(bg, "test", func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			all = append(all, text(row[0]))
			if integer(row[1]) != copyBad {
				good = append(good, text(row[0]))
			}
			return nil
		}, "SELECT name, flaw FROM chunk_name WHERE node = ? ORDER BY name", string(node))
	}))
	return all, good
}

func nameOf(t *testing.T, h *raid.Held) string {
	t.Helper()
	k, err := h.Key()
	must(t, err)
	if h.Length <= 0 || h.CRC == 0 || h.File == 0 || h.Index == 0 {
		t.Errorf("a copy without description: %+v", h)
	}
	return string(k.Name())
}

// heldOn pages through what a node should hold of uploads between two beginnings.
func heldOn(t *testing.T, c *Catalog, node raid.NodeID, from, to string, limit int) (names []string) {
	t.Helper()
	at := raid.HeldCursor{Upload: from}
	for more := true; more; {
		var held []raid.Held
		var err error
		held, at, more, err = c.HeldOn(bg, node, at, to, limit)
		must(t, err)
		for i := range held {
			if held[i].Node != node {
				t.Errorf("a copy on %s, want %s", held[i].Node, node)
			}
			names = append(names, nameOf(t, &held[i]))
		}
	}
	return names
}

func TestWhatANodeShouldHoldComesInTheOrderOfNames(t *testing.T) {
	c := mixed(t)
	for _, node := range []raid.NodeID{"n0", "n1", "n2", "n3"} {
		want, _ := namesOn(t, c, node)
		for _, limit := range []int{1, 2, 7, 100, 10_000} {
			if got := heldOn(t, c, node, "", "", limit); !slices.Equal(got, want) {
				t.Fatalf("in pages of %d: %d names on %s, want %d", limit, len(got), node, len(want))
			}
		}
		for range 20 {
			a, b := want[rand.IntN(len(want))], want[rand.IntN(len(want))]
			from, to := min(a, b)[:3], max(a, b)[:3]
			between := slices.DeleteFunc(slices.Clone(want), func(n string) bool { return n < from || n >= to })
			if got := heldOn(t, c, node, from, to, 1+rand.IntN(50)); !slices.Equal(got, between) {
				t.Fatalf("%d names from %s to %s, want %d", len(got), from, to, len(between))
			}
		}
	}
	if got := heldOn(t, c, "nobody", "", "", 10); len(got) > 0 {
		t.Errorf("an unknown node should hold %v", got)
	}
}

func TestWhatNodesShouldHoldIsFoundInOneWalk(t *testing.T) {
	c := mixed(t)
	for _, copies := range []int{1, 3, 1000} {
		got := map[raid.NodeID][]string{}
		var at raid.PartCursor
		for more := true; more; {
			var err error
			at, more, err = c.EachHeld(bg, []raid.NodeID{"n1", "n3", "nobody"}, at, copies, func(h *raid.Held) {
				got[h.Node] = append(got[h.Node], nameOf(t, h))
			})
			must(t, err)
		}
		for _, node := range []raid.NodeID{"n1", "n3"} {
			_, want := namesOn(t, c, node)
			slices.Sort(got[node])
			if !slices.Equal(got[node], want) {
				t.Errorf("in pages of %d: %d names on %s, want %d", copies, len(got[node]), node, len(want))
			}
		}
		if len(got) != 2 {
			t.Errorf("copies on %d nodes", len(got))
		}
	}
}

func TestCopiesOfDeletedFilesAreToldApart(t *testing.T) {
	c := openTest(t, "")
	kept, gone := store(t, c, 1), store(t, c, 1)
	must(t, c.Delete(bg, gone.ID))
	held, _, _, err := c.HeldOn(bg, "n1", raid.HeldCursor{}, "", 100)
	must(t, err)
	for _, h := range held {
		if h.Gone != (h.File == gone.ID) || h.File != kept.ID && h.File != gone.ID {
			t.Errorf("%+v", h)
		}
	}
	if len(held) == 0 {
		t.Error("nothing is held")
	}
}

func TestManyCopiesAreMarkedBadAtOnce(t *testing.T) {
	c := openTest(t, "")
	long, gone, other := store(t, c, 200), store(t, c, 1), store(t, c, 1)
	must(t, c.Delete(bg, gone.ID))
	must(t, c.MarkBad(bg, long.ID, 7, 1, 1, 1))
	var all, want []raid.CopyID
	for s := range int64(200) {
		for p := 1; p <= 2; p++ {
			x := raid.CopyID{File: long.ID, Stripe: s, Part: p, Index: 1, Attempt: 1}
			all = append(all, x)
			if s != 7 || p != 1 {
				want = append(want, x)
			}
		}
	}
	all = append(all, raid.CopyID{File: gone.ID, Stripe: 0, Part: 1, Index: 1, Attempt: 1}, raid.CopyID{File: other.ID, Stripe: 0, Part: 1, Index: 1, Attempt: 999}, raid.CopyID{File: 1 << 40, Stripe: 0, Part: 1, Index: 1, Attempt: 1})
	marked, err := c.MarkAllBad(bg, all)
	must(t, err)
	if !slices.Equal(marked, want) {
		t.Errorf("%d copies were marked, want %d", len(marked), len(want))
	}
	if n := len(repairs(t, c)); n != 400 {
		t.Errorf("%d parts are to be repaired, want 400", n)
	}
	if !degraded(t, c, long.ID) || degraded(t, c, other.ID) {
		t.Error("the wrong file is degraded")
	}
	if again, err := c.MarkAllBad(bg, all); err != nil || len(again) > 0 {
		t.Errorf("%d are marked again: %v", len(again), err)
	}
}

// BenchmarkWalk is what a look at all copies on one node costs, per copy.
func BenchmarkWalk(b *testing.B) {
	c := openTest(b, b.TempDir()+"/catalog.db")
	for range 40 {
		storeMany(b, c, 250)
	}
	b.ResetTimer()
	n := 0
	for n < b.N {
		var at raid.PartCursor
		for more := true; more && n < b.N; {
			var err error
			if at, more, err = c.EachHeld(bg, []raid.NodeID{"n1"}, at, 2000, func(*raid.Held) { n += 4 }); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkHeldOn is what a look at a node's copies in the order of names costs, per copy.
func BenchmarkHeldOn(b *testing.B) {
	c := openTest(b, b.TempDir()+"/catalog.db")
	for range 40 {
		storeMany(b, c, 250)
	}
	b.ResetTimer()
	for n := 0; n < b.N; {
		var at raid.HeldCursor
		for more := true; more && n < b.N; {
			var held []raid.Held
			var err error
			if held, at, more, err = c.HeldOn(bg, "n1", at, "", 500); err != nil {
				b.Fatal(err)
			}
			n += len(held)
		}
	}
}
