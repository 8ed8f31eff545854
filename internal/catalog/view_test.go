package catalog

import (
	"database/sql/driver"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

const assignment = "SELECT id, filename, size, content_type, created, part1_filenames, part2_filenames FROM file"

func joined(names []raid.ChunkName) string {
	var s []string
	for _, n := range names {
		s = append(s, string(n))
	}
	return strings.Join(s, ",")
}

func TestViewHasTheAssignmentsTable(t *testing.T) {
	c := openTest(t, "")
	small, large := store(t, c, 1), store(t, c, 70)
	deleted := store(t, c, 1)
	must(t, c.Delete(bg, deleted.ID))
	must(t, c.Append(bg, begin(t, c, 2).File.ID, newParts(0, 1)))
	must(t, c.MarkBad(bg, large.ID, 5, 2, 1, 1))

	var got [][]driver.Value
	must(t, c.read(bg, "test", func(r *conn) error {
		return r.query(func(row []driver.Value) error { got = append(got, slices.Clone(row)); return nil }, assignment)
	}))
	if len(got) != 2 {
		t.Fatalf("%d rows, want the 2 complete files: %v", len(got), got)
	}
	for i, f := range []raid.File{small, large} {
		p1, p2, err := allNames(c, f)
		must(t, err)
		want := []driver.Value{int64(f.ID), f.Filename, f.Size, f.ContentType, f.Created, joined(p1), joined(p2)}
		if !slices.Equal(got[i], want) {
			t.Errorf("row %v\nwant %v", got[i], want)
		}
	}
	p1, p2, err := allNames(c, large)
	must(t, err)
	if len(p1) != 140 || len(p2) != 139 {
		t.Errorf("%d and %d names", len(p1), len(p2))
	}
}

// The digits in SQL are those of raid.ChunkKey, over the whole range.
func TestViewComputesNamesAsTheChunksHaveThem(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	keys := []raid.ChunkKey{
		{Stripe: raid.MaxStripe, Part: raid.MaxPart, Attempt: raid.MaxAttempt},
		{Stripe: 61, Part: 9, Attempt: 61}, {Stripe: 62, Part: 10, Attempt: 62}, {Stripe: 3843, Part: 35, Attempt: 3843},
		{Stripe: 3844, Part: 36, Attempt: 3844}, {Stripe: 916132831, Part: 1, Attempt: 1}, {Stripe: 916132832, Part: 1, Attempt: 1},
	}
	for range 200 {
		keys = append(keys, raid.ChunkKey{Stripe: rand.Int64N(raid.MaxStripe), Part: 1 + rand.IntN(raid.MaxPart), Attempt: 1 + rand.IntN(raid.MaxAttempt)})
	}
	var parts []raid.Part
	for _, k := range keys {
		parts = append(parts, raid.Part{Stripe: k.Stripe, Number: k.Part, Copies: []raid.Copy{{Index: 1, Attempt: k.Attempt, Node: "n1"}}})
	}
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error { return t.insertParts(int64(f.ID), parts) }}))
	for _, k := range keys {
		k.Upload = f.Upload
		n := sqlInt(t, c, "SELECT count(*) FROM chunk_name WHERE file = ? AND stripe = ? AND part = ? AND name = ? AND node = 'n1'",
			int64(f.ID), k.Stripe, int64(k.Part), string(k.Name()))
		if n != 1 {
			t.Errorf("no chunk is called %s (%s)", k.Name(), k)
		}
	}
}

// SQLite 3.40 is the oldest that must open the catalog. What came later and is
// tempting must not get into the schema.
func TestSchemaNeedsNoNewSQLite(t *testing.T) {
	for _, m := range migrations() {
		text := strings.ToLower(m.sql)
		for _, newer := range []string{"concat(", "concat_ws(", "string_agg(", "jsonb", "octet_length(", "timediff(", "unhex(", "if(", "group_concat(name, ',' order"} {
			if i := strings.Index(text, newer); i >= 0 && !strings.HasSuffix(text[:i], "group_") {
				t.Errorf("%s uses %s, newer than SQLite 3.40", m.name, newer)
			}
		}
	}
}
