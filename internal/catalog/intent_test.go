package catalog

import (
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// intents counts the rows of what is about to be stored.
func intents(t *testing.T, c *Catalog) int64 {
	t.Helper()
	return sqlInt(t, c, "SELECT count(*) FROM intent")
}

// firstCopy is the first copy of a file's first part.
func firstCopy(t *testing.T, c *Catalog, id raid.FileID) raid.Copy {
	t.Helper()
	parts, err := c.Parts(bg, id, 0, 1)
	must(t, err)
	return parts[0].Copies[0]
}

// A copy that was made anew when the controller died is known to the next start.
func TestACopyThatWasBeingMadeIsRemovedAfterTheNextStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	f := store(t, c, 1)
	fresh := next(t, c, f.ID, 0, 1, 1, "n3")
	must(t, c.Close())

	c = openTest(t, path)
	n, err := c.ResolveIntents(bg)
	must(t, err)
	waiting, err := c.Removals(bg, "n3", 10)
	must(t, err)
	want := raid.Removal{Node: "n3", Key: raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: fresh.Attempt}}
	if n != 1 || len(waiting) != 1 || waiting[0] != want || intents(t, c) != 0 {
		t.Errorf("%d intents, removals %v, want %v; %d intents are left", n, waiting, want, intents(t, c))
	}
	if n, err := c.ResolveIntents(bg); n != 0 || err != nil {
		t.Errorf("again: %d intents, %v", n, err)
	}
}

// Whatever becomes of a copy ends what was noted of it, in the same transaction.
func TestAnIntentEndsWithItsResult(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	old := firstCopy(t, c, f.ID)
	fresh := next(t, c, f.ID, 0, 1, 1, "n3")
	if intents(t, c) != 1 {
		t.Fatal("nothing was noted: nothing is tested")
	}
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh))
	if intents(t, c) != 0 {
		t.Error("a copy that is in use is still about to be stored")
	}
	for name, end := range map[string]func(raid.Copy) error{
		"the row changed meanwhile": func(fresh raid.Copy) error { return c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh) },
		"it was made in vain": func(fresh raid.Copy) error {
			return c.Record(bg, []raid.Removal{{Node: fresh.Node, Key: raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: fresh.Attempt}}})
		},
	} {
		before, fresh := sqlInt(t, c, "SELECT count(*) FROM removal"), next(t, c, f.ID, 0, 1, 1, "n2")
		if err := end(fresh); err != nil && name == "it was made in vain" {
			t.Errorf("%s: %v", name, err)
		}
		if after := sqlInt(t, c, "SELECT count(*) FROM removal"); intents(t, c) != 0 || after != before+1 {
			t.Errorf("%s: %d intents are left, %d removals came", name, intents(t, c), after-before)
		}
	}
}

// A start believes the rows and not the intent: a chunk that a file rests on stays.
func TestAnIntentNeverRemovesACopyInUse(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	used := firstCopy(t, c, f.ID)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		return t.intend(used.Node, raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: used.Attempt})
	}}))
	_, err := c.ResolveIntents(bg)
	must(t, err)
	if n := sqlInt(t, c, "SELECT count(*) FROM removal"); n != 0 || intents(t, c) != 0 {
		t.Errorf("%d removals of a copy in use; %d intents are left", n, intents(t, c))
	}
}

// One that names no node can't be ended, and must not hold up the start for ever.
func TestAnIntentForNoNodeIsDamage(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		_, err := t.exec("INSERT INTO intent (node, upload_id, stripe, part, attempt) VALUES (77, ?, 0, 1, 1001)", f.Upload.String())
		return err
	}}))
	_, err := c.ResolveIntents(bg)
	wants(t, err, raid.ErrCorrupt)
	wants(t, c.Damaged(), raid.ErrCatalogDamaged)
}
