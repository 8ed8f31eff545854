package catalog

import (
	"math/rand/v2"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// checkTotals compares the totals that are kept with what the tables hold.
func checkTotals(t *testing.T, c *Catalog) {
	t.Helper()
	got, err := c.Counts(bg)
	must(t, err)
	want := raid.Totals{
		Files:    sqlInt(t, c, "SELECT count(*) FROM upload WHERE state = 1"),
		Bytes:    sqlInt(t, c, "SELECT coalesce(sum(size), 0) FROM upload WHERE state = 1"),
		Degraded: sqlInt(t, c, "SELECT count(*) FROM upload WHERE state = 1 AND degraded = 1"),
		Removals: sqlInt(t, c, "SELECT count(*) FROM removal"),
		Trash: raid.TrashTotals{
			Files: sqlInt(t, c, "SELECT count(*) FROM upload WHERE state = 2"),
			Bytes: sqlInt(t, c, "SELECT coalesce(sum(size), 0) FROM upload WHERE state = 2"),
		},
	}
	if got != want {
		t.Errorf("totals %+v, tables hold %+v", got, want)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM meta WHERE files = ? AND bytes = ? AND degraded = ? AND removals = ? AND trash_files = ? AND trash_bytes = ?",
		want.Files, want.Bytes, want.Degraded, want.Removals, want.Trash.Files, want.Trash.Bytes); n != 1 {
		t.Errorf("the totals on disk are not %+v", want)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM node n WHERE removals <> (SELECT count(*) FROM removal r WHERE r.node = n.key)"); n != 0 {
		t.Errorf("the removals of %d nodes are miscounted", n)
	}
	if n := sqlInt(t, c, `SELECT count(*) FROM upload u WHERE state = 1
		AND degraded <> EXISTS (SELECT 1 FROM chunk WHERE file = u.id AND flaw > 0)`); n != 0 {
		t.Errorf("%d files say wrongly whether they are degraded", n)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM trash WHERE file NOT IN (SELECT id FROM upload WHERE state = 2)"); n != 0 {
		t.Errorf("%d rows of trash are for no file in it", n)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM trash"); n != want.Trash.Files {
		t.Errorf("%d rows of trash for %d files", n, want.Trash.Files)
	}
	removalsOf(t, c) // by node, in memory
}

func TestTotalsFollowEveryChange(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	rng := rand.New(rand.NewPCG(1, 2))
	var files []raid.File
	for i := range 400 {
		if len(files) == 0 || rng.IntN(3) == 0 {
			fin := newFile(t, c, int64(1+rng.IntN(3)))
			if rng.IntN(3) == 0 {
				fin.Parts[0].Copies[1].Node = fin.Parts[0].Copies[0].Node
			}
			if rng.IntN(4) == 0 {
				fin.Parts[1].Copies[1].Node = ""
			}
			f, err := c.Finish(bg, fin)
			must(t, err)
			files = append(files, f)
			continue
		}
		randomChange(t, c, rng, &files)
		if i%50 == 0 {
			checkTotals(t, c)
		}
		if i == 200 {
			must(t, c.Close())
			c = openTest(t, path)
			checkTotals(t, c)
		}
	}
	checkTotals(t, c)
}

func randomChange(t *testing.T, c *Catalog, rng *rand.Rand, files *[]raid.File) {
	t.Helper()
	i := rng.IntN(len(*files))
	f := (*files)[i]
	parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
	must(t, err)
	p := parts[rng.IntN(len(parts))]
	old := p.Copies[rng.IntN(len(p.Copies))]
	switch rng.IntN(6) {
	case 0:
		must(t, c.Delete(bg, f.ID))
		*files = append((*files)[:i], (*files)[i+1:]...)
	case 1:
		_, err := c.Sweep(bg, 1+rng.IntN(10))
		must(t, err)
	case 2:
		must(t, c.MarkBad(bg, f.ID, p.Stripe, p.Number, old.Index, old.Attempt))
	case 3, 4:
		fresh := next(t, c, f.ID, p.Stripe, p.Number, old.Index, nodeN(rng.IntN(4)))
		old.Bad = true // so that it may double another
		must(t, c.ReplaceCopy(bg, f.ID, p.Stripe, p.Number, old, fresh))
	case 5:
		rs, err := c.Removals(bg, nodeN(rng.IntN(4)), 3)
		must(t, err)
		must(t, c.Removed(bg, append(rs, rs...)))
	}
}
