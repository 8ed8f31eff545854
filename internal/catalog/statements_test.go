package catalog

import (
	"database/sql/driver"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/raidpi/raidpi/internal/raid"
)

// useEverything makes the catalog prepare every statement that it has.
func useEverything(t *testing.T, c *Catalog) {
	t.Helper()
	fin := begin(t, c, 3)
	must(t, c.Append(bg, fin.File.ID, newParts(0, 3)))
	must(t, c.Append(bg, fin.File.ID, newParts(0, 1)))
	fin.Parts, fin.Lost = newParts(2, 3), []raid.NodeID{"n1"}
	f, err := c.Finish(bg, fin)
	must(t, err)
	long := store(t, c, longFile+1)
	must(t, c.MarkBad(bg, long.ID, 0, 1, 1, 1))
	one := begin(t, c, 1)
	_, err = c.Finish(bg, one)
	must(t, err)
	keyed := newFile(t, c, 1)
	keyed.Idempotency = &raid.IdempotencyKey{Key: "k"}
	keyed.Removals = []raid.Removal{{Node: "n2", Key: raid.ChunkKey{Upload: keyed.File.Upload, Part: 1, Attempt: 9}}}
	g, err := c.Finish(bg, keyed)
	must(t, err)
	_, _, _, err = c.FindKey(bg, "k")
	must(t, err)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error { return c.pruneBefore(t, 0) }}))
	must(t, c.MarkBad(bg, g.ID, 0, 1, 1, 1))
	repairs, err := c.Repairs(bg, raid.PartCursor{}, 10)
	must(t, err)
	p := repairs[len(repairs)-1].Part
	onLab := next(t, c, g.ID, 0, 1, 1, "")
	must(t, c.ReplaceCopy(bg, g.ID, 0, 1, p.Copies[0], onLab))
	must(t, c.ReplaceCopy(bg, g.ID, 0, 1, onLab, next(t, c, g.ID, 0, 1, 1, "n3")))
	lost, _, _, err := c.PartsOn(bg, []raid.NodeID{"n3"}, raid.PartCursor{}, 100)
	must(t, err)
	_, _, _, _, err = c.CountOn(bg, []raid.NodeID{"n3"}, raid.PartCursor{}, 100)
	must(t, err)
	spare := lost[len(lost)-1]
	must(t, c.ReplaceLost(bg, spare.File, spare.Part.Stripe, spare.Part.Number, spare.Part.Copies[1], next(t, c, spare.File, spare.Part.Stripe, spare.Part.Number, 2, "n0")))
	surplus, _, _, err := c.Surpluses(bg, spare.Part.Copies[1].Node, raid.SurplusCursor{}, 10)
	must(t, err)
	_, _, _, _, err = c.CountSurplus(bg, spare.Part.Copies[1].Node, raid.SurplusCursor{}, 10)
	must(t, err)
	_, err = c.SettleSurplus(bg, []raid.Settlement{{Surplus: surplus[0], Instead: 1}})
	must(t, err)
	_, _, err = allNames(c, f)
	must(t, err)
	listAll(t, c, raid.FileQuery{Filename: "x"})
	listAll(t, c, raid.FileQuery{Limit: 1})
	old, err := raid.NewUploadID(0, strings.NewReader("0123456789abcdef"))
	must(t, err)
	_, err = c.UnknownUploads(bg, []raid.UploadID{old})
	must(t, err)
	_, err = c.Unexplained(bg, "n1", []raid.ChunkKey{{Upload: old}})
	must(t, err)
	_, _, err = c.EachHeld(bg, []raid.NodeID{"n1"}, raid.PartCursor{}, 10, func(*raid.Held) {})
	must(t, err)
	_, _, _, err = c.HeldOn(bg, "n1", raid.HeldCursor{}, "", 10)
	must(t, err)
	_, err = c.MarkAllBad(bg, []raid.CopyID{{File: g.ID, Part: 2, Index: 1, Attempt: 1}})
	must(t, err)
	_, err = c.Traces(bg, map[raid.UploadID][]raid.FileID{old: {1, f.ID, 1 << 40}})
	must(t, err)
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Address: "10.0.0.1"}))
	attic := "attic"
	_, err = c.ChangeNode(bg, "n1", raid.NodeChange{Zone: &attic, Name: &attic})
	must(t, err)
	must(t, c.Relocate(bg, "n1", func(d raid.Relocation) (raid.Relocation, error) { d.Draining = true; return d, nil }))
	_, err = c.Intends(bg, "n1")
	must(t, err)
	_, _, _, err = c.Holdings(bg, raid.PartCursor{}, 10)
	must(t, err)
	must(t, c.Abandon(bg, begin(t, c, 1).File, nil))
	_, err = c.AbandonUnfinished(bg)
	must(t, err)
	must(t, c.Delete(bg, f.ID))
	sweepAll(t, c, 5)
	useTrash(t, c)
	join(t, c, "n4", 1)
	_, err = c.Certify(bg, "n4", pinN(2))
	must(t, err)
	_, err = c.TokenUsers(bg, "t")
	must(t, err)
	must(t, c.RemoveNode(bg, "n4", nil, nil))
	loseAll(t, c, 5)
	must(t, c.RevokeToken(bg, newToken(t, c, "x", 0).ID))
	seq, _ := c.NextEvent()
	c.CarryEvents(func() []raid.Event { return []raid.Event{{Seq: seq}} }, func(int64) {})
	must(t, c.KeepEvents(bg))
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error { return t.pruneEvents(0) }}))
	_, err = c.Events(bg, 0, 10)
	must(t, err)
	_, err = c.LastEvents(bg, 10)
	must(t, err)
	for _, n := range []raid.NodeID{"n0", "n1", "n2", "n3"} {
		rs, err := c.Removals(bg, n, 10)
		must(t, err)
		must(t, c.Removed(bg, rs))
	}
}

// useTrash does the same for the trash.
func useTrash(t *testing.T, c *Catalog) {
	t.Helper()
	c.keep = 1
	defer func() { c.keep = 0 }()
	var trash []raid.FileID
	for range 4 {
		f := store(t, c, 1)
		must(t, c.Delete(bg, f.ID))
		trash = append(trash, f.ID)
	}
	must(t, c.MarkBad(bg, trash[0], 0, 1, 1, 1))
	_, err := c.Undelete(bg, trash[0])
	must(t, err)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		_, _, err := t.conn.queryInt(anyLost+noSpare, int64(1))
		return err
	}}))
	must(t, c.Purge(bg, trash[1]))
	_, _, err = c.Oldest(bg)
	must(t, err)
	_, err = c.Trashed(bg, trash[2])
	must(t, err)
	for _, err := range c.Trash(bg, raid.FileQuery{}) {
		must(t, err)
	}
	_, err = c.Discard(bg, raid.Discard{Until: c.Ran(), Limit: 10})
	must(t, err)
	sweepAll(t, c, 5)
}

// statements are the texts of all that c has prepared, without those of tests.
func statements(t *testing.T, c *Catalog) []string {
	t.Helper()
	all := maps.Clone(c.writer.conn.stmts)
	for range readers {
		r := <-c.readers
		maps.Copy(all, r.stmts)
		defer func() { c.readers <- r }()
	}
	plain := regexp.MustCompile(`^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA)`)
	out := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(sql string) bool {
		return plain.MatchString(sql) || strings.Contains(sql, "pragma_user_version") // used at the start alone
	})
	if len(out) < 40 {
		t.Errorf("only %d statements were prepared: %q", len(out), out)
	}
	return out
}

// With 50 million chunks, what looks at every row of a table stops the world.
func TestNoStatementScansATable(t *testing.T) {
	c := openTest(t, "")
	useEverything(t, c)
	scan := regexp.MustCompile(`^SCAN ([a-z]\w*)( USING (COVERING )?INDEX (\w+))?`)
	for _, sql := range statements(t, c) {
		var plan []string
		must(t, c.read(bg, "test", func(r *conn) error {
			return r.query(func(row []driver.Value) error {
				plan = append(plan, text(row[3]))
				return nil
			}, "EXPLAIN QUERY PLAN "+sql, make([]any, strings.Count(sql, "?"))...)
		}))
		for _, step := range plan {
			m := scan.FindStringSubmatch(step)
			// Small tables and indexes of few rows may be read through.
			if m != nil && !slices.Contains([]string{"meta", "node", "epoch", "access_token", "spread", "event", "event_log", "spread_set"}, m[1]) && m[4] != "upload_unsettled" && m[4] != "chunk_flawed" ||
				strings.Contains(step, "AUTOMATIC") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\nis done so: %s", sql, strings.Join(plan, "; "))
			}
		}
	}
}

// SQLite prepares a statement anew at each use when its plan depends on the
// value of a parameter, as since lately on that of LIMIT. That takes ten times as
// long as the statement.
func TestNoStatementIsPreparedAtEachUse(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	useEverything(t, c)
	tls := libc.NewTLS()
	defer tls.Close()
	cstring := func(s string) uintptr {
		p, err := libc.CString(s)
		must(t, err)
		return p
	}
	handles := tls.Alloc(16)
	defer tls.Free(16)
	if rc := sqlite3.Xsqlite3_open_v2(tls, cstring(path), handles, sqlite3.SQLITE_OPEN_READWRITE, 0); rc != 0 {
		t.Fatal(rc)
	}
	db := *copyIn[uintptr](handles)
	defer sqlite3.Xsqlite3_close_v2(tls, db)
	for _, sql := range append(statements(t, c), "SELECT id FROM upload LIMIT ?") {
		if rc := sqlite3.Xsqlite3_prepare_v2(tls, db, cstring(sql), -1, handles, 0); rc != 0 {
			t.Fatalf("%s: %d", sql, rc)
		}
		stmt := *copyIn[uintptr](handles)
		for range 3 {
			for i := range sqlite3.Xsqlite3_bind_parameter_count(tls, stmt) {
				sqlite3.Xsqlite3_bind_int64(tls, stmt, i+1, 1)
			}
			sqlite3.Xsqlite3_exec(tls, db, cstring("SAVEPOINT s"), 0, 0, 0)
			sqlite3.Xsqlite3_step(tls, stmt)
			sqlite3.Xsqlite3_reset(tls, stmt)
			sqlite3.Xsqlite3_exec(tls, db, cstring("ROLLBACK TO s; RELEASE s"), 0, 0, 0)
			sqlite3.Xsqlite3_clear_bindings(tls, stmt)
		}
		again := sqlite3.Xsqlite3_stmt_status(tls, stmt, sqlite3.SQLITE_STMTSTATUS_REPREPARE, 0)
		if probe := sql == "SELECT id FROM upload LIMIT ?"; again > 1 && !probe || probe && again == 0 {
			t.Errorf("prepared %d more times in 3 uses: %s", again, sql)
		}
		sqlite3.Xsqlite3_finalize(tls, stmt)
	}
}
