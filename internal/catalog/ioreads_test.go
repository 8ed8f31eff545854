package catalog

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// cold opens a catalog whose pages are not in memory, on a disk that can fail.
func cold(t *testing.T, path string, fs *faultFS) *Catalog {
	t.Helper()
	cfg := config(path)
	cfg.Keep = testKeep
	return openWith(t, cfg, options{vfs: fs.name})
}

// fromMemory are the changes that read nothing which a catalog has not read at its start.
var fromMemory = map[string]bool{"Relocate": true, "NoteScrub": true, "PauseScrub": true}

// Reads of the disk fail after each number of them. A call that says it failed is carried
// out wholly or not at all, and the next one works: after a start, where the catalog says
// that it is broken, as it does when an I/O error strikes a write.
func TestCallsFailWhollyAtEachRead(t *testing.T) {
	for name, prepare := range changes {
		t.Run(name, func(t *testing.T) {
			fs := newFaultFS(t)
			fails, step := 0, int64(4)
			if underRace {
				step = 1
			}
			for n, failed := int64(0), true; failed; n += 1 + n/step {
				path := filepath.Join(t.TempDir(), "catalog.db")
				c := openKeeping(t, path, testKeep)
				what := prepare(t, c)
				must(t, c.Close())
				c = cold(t, path, fs)
				fs.readsFailAfter(n)
				err := what.call(c)
				fs.readsFailAfter(-1)
				if failed = err != nil; failed {
					fails++
				}
				if errors.Is(err, raid.ErrCatalogBroken) {
					must(t, c.Close())
					c = cold(t, path, fs)
				}
				if !failed && !what.done(c) {
					t.Fatalf("after %d reads it was said to be done, and is not", n)
				}
				if !what.done(c) {
					must(t, what.call(c))
				}
				if !what.done(c) {
					t.Fatalf("after %d reads it is not done the next time; it failed with %v", n, err)
				}
				checkTotals(t, c)
				must(t, c.Close())
				c = openKeeping(t, path, testKeep)
				if !what.done(c) || c.Reach(everywhere, true).Partial {
					t.Fatalf("after %d reads and a start it is not done", n)
				}
				must(t, c.Close())
			}
			if fails < 1 && !fromMemory[name] {
				t.Error("it never failed")
			}
		})
	}
}

// collect is what a listing yields.
func collect[T any](all iter.Seq2[T, error]) (out []T, err error) {
	for x, err := range all {
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// answers are the calls that look for what heals, moves, is spared or was deleted.
var answers = map[string]func(c *Catalog) (any, error){
	"Repairs": func(c *Catalog) (any, error) { return c.Repairs(bg, raid.PartCursor{}, 100) },
	"PartsOn": func(c *Catalog) (any, error) {
		out, _, _, err := c.PartsOn(bg, []raid.NodeID{"n0", "n2"}, raid.PartCursor{}, 100)
		return out, err
	},
	"CountOn": func(c *Catalog) (any, error) {
		copies, bytes, _, _, err := c.CountOn(bg, []raid.NodeID{"n0", "n2"}, raid.PartCursor{}, 100)
		return [2]int64{copies, bytes}, err
	},
	"Surpluses": func(c *Catalog) (any, error) {
		out, _, _, err := c.Surpluses(bg, "n1", raid.SurplusCursor{}, 100)
		return out, err
	},
	"CountSurplus": func(c *Catalog) (any, error) {
		copies, bytes, _, _, err := c.CountSurplus(bg, "n1", raid.SurplusCursor{}, 100)
		return [2]int64{copies, bytes}, err
	},
	"Holdings": func(c *Catalog) (any, error) {
		out, _, _, err := c.Holdings(bg, raid.PartCursor{}, 100)
		return len(out), err // in no order
	},
	"EachHeld": func(c *Catalog) (any, error) {
		var out []raid.Held
		_, _, err := c.EachHeld(bg, []raid.NodeID{"n0"}, raid.PartCursor{}, 100, func(h *raid.Held) { out = append(out, *h) })
		return out, err
	},
	"HeldOn": func(c *Catalog) (any, error) {
		out, _, _, err := c.HeldOn(bg, "n0", raid.HeldCursor{}, "", 100)
		return out, err
	},
	"Removals":     func(c *Catalog) (any, error) { return c.Removals(bg, "n0", 100) },
	"Intends":      func(c *Catalog) (any, error) { return c.Intends(bg, "n7") },
	"FirstCreated": func(c *Catalog) (any, error) { return c.FirstCreated(bg) },
	"Oldest": func(c *Catalog) (any, error) {
		since, some, err := c.Oldest(bg)
		return fmt.Sprint(since, some), err
	},
	"Trash": func(c *Catalog) (any, error) {
		all, err := collect(c.Trash(bg, raid.FileQuery{}))
		for i := range all {
			all[i].Left = 0 // which passes
		}
		return all, err
	},
	"files that are lost": func(c *Catalog) (any, error) { return collect(c.Files(bg, raid.FileQuery{Lost: true})) },
	"Events":              func(c *Catalog) (any, error) { return c.Events(bg, 0, 100) },
	"LastEvents":          func(c *Catalog) (any, error) { return c.LastEvents(bg, 100) },
}

// Reads of the disk fail after each number of them. What looks into the catalog says so,
// and never that there is less than there is; the next look sees everything.
func TestLooksFailWhollyAtEachRead(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openKeeping(t, path, testKeep)
	var w waiting
	w.carry(c)
	w.add(happened(t, c, "one"), happened(t, c, "two"))
	for range 3 {
		store(t, c, 2)
	}
	spareOne(t, c, "n9")
	deleted, purged, lost := store(t, c, 2), store(t, c, 2), store(t, c, 1)
	must(t, c.Delete(bg, deleted.ID))
	must(t, c.Purge(bg, purged.ID))
	sweepAll(t, c, 100)
	next(t, c, deleted.ID, 0, 1, 1, "n7")
	parts, err := c.Parts(bg, lost.ID, 0, 1)
	must(t, err)
	for _, p := range parts {
		for _, k := range p.Copies {
			must(t, c.MarkBad(bg, lost.ID, p.Stripe, p.Number, k.Index, k.Attempt))
		}
	}
	want := map[string]string{}
	for name, ask := range answers {
		got, err := ask(c)
		must(t, err)
		if want[name] = fmt.Sprintf("%+v", got); want[name] == "[]" || want[name] == "0" || want[name] == "false" || want[name] == "" {
			t.Errorf("%s finds nothing: the test is none", name)
		}
	}
	must(t, c.Close())
	for name, ask := range answers {
		t.Run(name, func(t *testing.T) {
			fails := 0
			for n, failed := int64(0), true; failed; n++ {
				c := cold(t, path, fs)
				fs.readsFailAfter(n)
				got, err := ask(c)
				fs.readsFailAfter(-1)
				if failed = err != nil; failed {
					fails++
				} else if text := fmt.Sprintf("%+v", got); text != want[name] {
					t.Errorf("after %d reads: %s\nwant %s", n, text, want[name])
				}
				again, err := ask(c)
				if text := fmt.Sprintf("%+v", again); err != nil || text != want[name] {
					t.Errorf("after %d reads, the next time: %s, %v\nwant %s", n, text, err, want[name])
				}
				must(t, c.Close())
			}
			if fails < 1 {
				t.Error("it never failed")
			}
		})
	}
}
