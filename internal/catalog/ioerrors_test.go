package catalog

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// change is a call that writes, and how to see that it was carried out. Both may be asked
// of a catalog that was opened again.
type change struct {
	call func(*Catalog) error
	done func(*Catalog) bool
}

// changes are the calls that heal, move, spare and delete, each in a catalog of its own.
var changes = map[string]func(t *testing.T, c *Catalog) change{
	"Delete": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		return change{func(c *Catalog) error { return c.Delete(bg, f.ID) }, inTrash(f)}
	},
	"Undelete": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		must(t, c.Delete(bg, f.ID))
		return change{
			func(c *Catalog) error { _, err := c.Undelete(bg, f.ID); return err },
			func(c *Catalog) bool { _, err := c.File(bg, f.ID); return err == nil },
		}
	},
	"Purge": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		must(t, c.Delete(bg, f.ID))
		return change{func(c *Catalog) error { return c.Purge(bg, f.ID) }, func(c *Catalog) bool { return !inTrash(f)(c) }}
	},
	"Discard": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		must(t, c.Delete(bg, f.ID))
		return change{
			func(c *Catalog) error { _, err := c.Discard(bg, raid.Discard{Until: c.Ran(), Limit: 10}); return err },
			func(c *Catalog) bool { return !inTrash(f)(c) },
		}
	},
	"MarkAllBad": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		k := firstCopy(t, c, f.ID)
		return change{
			func(c *Catalog) error {
				_, err := c.MarkAllBad(bg, []raid.CopyID{{File: f.ID, Part: 1, Index: k.Index, Attempt: k.Attempt}})
				return err
			},
			func(c *Catalog) bool { return copyNow(c, f).Bad },
		}
	},
	"NextAttempt": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		must(t, c.Delete(bg, f.ID))
		return change{
			func(c *Catalog) error { _, err := c.NextAttempt(bg, f.ID, 0, 1, "n7"); return err },
			func(c *Catalog) bool { some, err := c.Intends(bg, "n7"); return some && err == nil },
		}
	},
	"ReplaceCopy": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		must(t, c.Delete(bg, f.ID))
		old, fresh := firstCopy(t, c, f.ID), next(t, c, f.ID, 0, 1, 1, "n7")
		return change{func(c *Catalog) error { return c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh) }, isNow(f, fresh)}
	},
	"ReplaceLost": func(t *testing.T, c *Catalog) change {
		f := store(t, c, 2)
		old, fresh := firstCopy(t, c, f.ID), next(t, c, f.ID, 0, 1, 1, "n7")
		return change{func(c *Catalog) error { return c.ReplaceLost(bg, f.ID, 0, 1, old, fresh) }, isNow(f, fresh)}
	},
	"SettleSurplus": func(t *testing.T, c *Catalog) change {
		store(t, c, 2)
		r, _ := spareOne(t, c, "n9")
		s := surplusOn(t, c, "n1")[0]
		return change{
			func(c *Catalog) error { _, err := c.SettleSurplus(bg, []raid.Settlement{{Surplus: s}}); return err },
			func(c *Catalog) bool {
				n, _, _, _, err := c.CountSurplus(bg, "n1", raid.SurplusCursor{}, 9)
				return n == 0 && err == nil && r.File > 0
			},
		}
	},
	"SettleSurplus of the last copy": func(t *testing.T, c *Catalog) change {
		_, s := lastSpare(t, c, 1)
		return change{
			func(c *Catalog) error {
				_, err := c.SettleSurplus(bg, []raid.Settlement{{Surplus: s, Instead: s.Part.Copies[0].Index}})
				return err
			},
			func(c *Catalog) bool {
				n, _, _, _, err := c.CountSurplus(bg, "n1", raid.SurplusCursor{}, 9)
				return n == 0 && err == nil
			},
		}
	},
	"SurplusBad": func(t *testing.T, c *Catalog) change {
		_, s := lastSpare(t, c, 1)
		return change{func(c *Catalog) error { return c.SurplusBad(bg, s) }, func(c *Catalog) bool { return c.Reach(everywhere, true).None == 1 }}
	},
	"Relocate": func(t *testing.T, c *Catalog) change {
		store(t, c, 2)
		want := raid.Relocation{Draining: true, Replaced: true, Successor: "n3"}
		return change{
			func(c *Catalog) error {
				return c.Relocate(bg, "n1", func(raid.Relocation) (raid.Relocation, error) { return want, nil })
			},
			func(c *Catalog) bool { n, _ := c.Node("n1"); return n.Relocation == want },
		}
	},
	"NoteScrub": func(t *testing.T, c *Catalog) change {
		store(t, c, 2)
		want := raid.ScrubNote{Pass: 3, Began: "2026-01-01 00:00:00", Ended: "2026-01-01 01:00:00"}
		return change{
			func(c *Catalog) error { return c.NoteScrub(bg, "n1", want) },
			func(c *Catalog) bool { n, _ := c.Node("n1"); return n.Scrub == want },
		}
	},
	"PauseScrub": func(t *testing.T, c *Catalog) change {
		store(t, c, 2)
		return change{
			func(c *Catalog) error { return c.PauseScrub(bg, "n1", true) },
			func(c *Catalog) bool { n, _ := c.Node("n1"); return n.ScrubPaused },
		}
	},
	"KeepEvents": func(t *testing.T, c *Catalog) change {
		var w waiting
		want := []raid.Event{happened(t, c, "one"), happened(t, c, "two")}
		w.add(want...)
		return change{
			func(c *Catalog) error { w.carry(c); return c.KeepEvents(bg) },
			func(c *Catalog) bool { got, err := c.Events(bg, 0, 10); return err == nil && slices.Equal(got, want) },
		}
	},
	"MarkLost with surplus copies": func(t *testing.T, c *Catalog) change {
		store(t, c, 2)
		spareOne(t, c, "n9")
		must(t, c.RemoveNode(bg, "n1", nil, nil))
		return change{
			func(c *Catalog) error {
				var at raid.LostCursor
				for more := true; more; {
					var err error
					if at, more, err = c.MarkLost(bg, at, 100); err != nil {
						return err
					}
				}
				return nil
			},
			func(c *Catalog) bool {
				n, _, _, _, err := c.CountSurplus(bg, "n1", raid.SurplusCursor{}, 9)
				return err == nil && n == 0 && sqlCount(c, goodOn, "n1") == 0
			},
		}
	},
	"CountSpread": func(t *testing.T, c *Catalog) change {
		for range 5 {
			store(t, c, 2)
		}
		must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
			t.meta.spreadTo = 0
			_, err := t.exec("DELETE FROM spread")
			return err
		}}))
		return change{
			func(c *Catalog) error {
				for more := true; more; {
					var err error
					if more, err = c.CountSpread(bg, 2); err != nil {
						return err
					}
				}
				return nil
			},
			func(c *Catalog) bool { return !c.partial() },
		}
	},
}

// sqlCount is a number of the database; -1 when it can't be read.
func sqlCount(c *Catalog, query string, args ...any) (n int64) {
	err := c.read(bg, "test", func(r *conn) (err error) { n, _, err = r.queryInt(query, args...); return err })
	if err != nil {
		return -1
	}
	return n
}

func inTrash(f raid.File) func(*Catalog) bool {
	return func(c *Catalog) bool { _, err := c.Trashed(bg, f.ID); return err == nil }
}

// copyNow is the first copy of a file's first part; none when it can't be read.
func copyNow(c *Catalog, f raid.File) (k raid.Copy) {
	if parts, err := c.Parts(bg, f.ID, 0, 1); err == nil {
		k = parts[0].Copies[0]
	}
	return k
}

func isNow(f raid.File, want raid.Copy) func(*Catalog) bool {
	return func(c *Catalog) bool { return copyNow(c, f) == want }
}

// The disk dies after each number of writes and flushes. What a call said was done is done,
// what failed is done wholly or not at all, and can be done after a start.
func TestCallsFailWhollyAtEachWrite(t *testing.T) {
	for name, prepare := range changes {
		t.Run(name, func(t *testing.T) {
			fs := newFaultFS(t)
			fails, step := 0, int64(3)
			if underRace {
				step = 1
			}
			for n, failed := int64(0), true; failed; n += 1 + n/step {
				cfg := config(filepath.Join(t.TempDir(), "catalog.db"))
				cfg.Keep = testKeep
				c := openWith(t, cfg, options{vfs: fs.name})
				what := prepare(t, c)
				fs.diesAfter(n)
				err := what.call(c)
				fs.diesAfter(-1)
				if failed = err != nil; failed {
					fails++
				}
				must(t, c.Close())
				c = openKeeping(t, cfg.Path, testKeep)
				if !failed && !what.done(c) {
					t.Fatalf("after %d writes it was said to be done, and is not", n)
				}
				if !what.done(c) {
					must(t, what.call(c))
					if !what.done(c) {
						t.Fatalf("after %d writes and a start it is not done", n)
					}
				}
				checkTotals(t, c)
				if r := c.Reach(everywhere, true); r.Partial {
					t.Fatalf("after %d writes the files are counted anew", n)
				}
				if name != "SettleSurplus of the last copy" && name != "SurplusBad" {
					checkReach(t, c, rand.New(rand.NewPCG(uint64(n), 1)))
				}
				must(t, c.Close())
			}
			if fails < 2 {
				t.Errorf("it failed %d times", fails)
			}
		})
	}
}
