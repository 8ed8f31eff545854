package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// walk goes through a table or an index in the order of its key, some rows at a time,
// and looks each of them up where it must be, too. Pages may have good seals and not
// fit each other: what was wrong in memory was sealed as it was.
type walk struct {
	name  string
	sql   string // takes the key and a limit; its rows begin with the key, and end with 1 where the other has the row
	first []any  // a key that comes before all
}

// walks are all indexes in both directions, and the tables that are their own index.
var walks = []walk{
	{"the uploads against the index of their upload ids", `SELECT u.id,
		EXISTS (SELECT 1 FROM upload i INDEXED BY sqlite_autoindex_upload_1 WHERE i.upload_id = u.upload_id AND i.id = u.id)
		AND (u.state = 1 OR EXISTS (SELECT 1 FROM upload i INDEXED BY upload_unsettled WHERE i.state = u.state AND i.id = u.id AND i.state <> 1))
		FROM upload u NOT INDEXED WHERE u.id > ? ORDER BY u.id LIMIT +?`, []any{int64(-1 << 63)}},
	{"the index of upload ids against the uploads", `SELECT i.upload_id,
		EXISTS (SELECT 1 FROM upload u NOT INDEXED WHERE u.id = i.id AND u.upload_id = +i.upload_id)
		FROM upload i INDEXED BY sqlite_autoindex_upload_1 WHERE i.upload_id > ? ORDER BY i.upload_id LIMIT +?`, []any{""}},
	unsettledIn("0"), unsettledIn("2"), unsettledIn("3"),
	{"the parts", `SELECT p.file, p.stripe, p.part, 1 FROM part p WHERE (p.file, p.stripe, p.part) > (?, ?, ?) ORDER BY p.file, p.stripe, p.part LIMIT +?`,
		[]any{int64(-1 << 63), int64(0), int64(0)}},
	{"the chunks against the indexes of those that are flawed and those on lab nodes", `SELECT c.file, c.stripe, c.part, c.copy,
		(c.flaw = 0 OR EXISTS (SELECT 1 FROM chunk i INDEXED BY chunk_flawed WHERE i.file = c.file AND i.stripe = c.stripe AND i.part = c.part AND i.copy = c.copy AND i.flaw > 0))
		AND (c.node IS NOT NULL OR EXISTS (SELECT 1 FROM chunk i INDEXED BY chunk_on_lab WHERE i.file = c.file AND i.stripe = c.stripe AND i.part = c.part AND i.copy = c.copy AND i.node IS NULL))
		FROM chunk c NOT INDEXED WHERE (c.file, c.stripe, c.part, c.copy) > (?, ?, ?, ?) ORDER BY c.file, c.stripe, c.part, c.copy LIMIT +?`,
		[]any{int64(-1 << 63), int64(0), int64(0), int64(0)}},
	{"the index of flawed chunks against the chunks", `SELECT i.file, i.stripe, i.part, i.copy,
		EXISTS (SELECT 1 FROM chunk c NOT INDEXED WHERE c.file = i.file AND c.stripe = i.stripe AND c.part = i.part AND c.copy = i.copy AND +c.flaw > 0)
		FROM chunk i INDEXED BY chunk_flawed WHERE i.flaw > 0 AND (i.file, i.stripe, i.part, i.copy) > (?, ?, ?, ?) ORDER BY i.file, i.stripe, i.part, i.copy LIMIT +?`,
		[]any{int64(-1 << 63), int64(0), int64(0), int64(0)}},
	{"the index of chunks on lab nodes against the chunks", `SELECT i.file, i.stripe, i.part, i.copy,
		EXISTS (SELECT 1 FROM chunk c NOT INDEXED WHERE c.file = i.file AND c.stripe = i.stripe AND c.part = i.part AND c.copy = i.copy AND +c.node IS NULL)
		FROM chunk i INDEXED BY chunk_on_lab WHERE i.node IS NULL AND (i.file, i.stripe, i.part, i.copy) > (?, ?, ?, ?) ORDER BY i.file, i.stripe, i.part, i.copy LIMIT +?`,
		[]any{int64(-1 << 63), int64(0), int64(0), int64(0)}},
	{"the surplus copies against the index of their nodes", `SELECT s.file, s.stripe, s.part, s.attempt,
		EXISTS (SELECT 1 FROM surplus i INDEXED BY surplus_on WHERE i.node = s.node AND i.file = s.file AND i.stripe = s.stripe AND i.part = s.part AND i.attempt = s.attempt)
		FROM surplus s NOT INDEXED WHERE (s.file, s.stripe, s.part, s.attempt) > (?, ?, ?, ?) ORDER BY s.file, s.stripe, s.part, s.attempt LIMIT +?`,
		[]any{int64(-1 << 63), int64(0), int64(0), int64(0)}},
	{"the index of surplus copies' nodes against the surplus copies", `SELECT i.node, i.file, i.stripe, i.part, i.attempt,
		EXISTS (SELECT 1 FROM surplus s NOT INDEXED WHERE s.file = i.file AND s.stripe = i.stripe AND s.part = i.part AND s.attempt = i.attempt AND +s.node = i.node)
		FROM surplus i INDEXED BY surplus_on WHERE (i.node, i.file, i.stripe, i.part, i.attempt) > (?, ?, ?, ?, ?) ORDER BY i.node, i.file, i.stripe, i.part, i.attempt LIMIT +?`,
		[]any{int64(-1 << 63), int64(-1 << 63), int64(0), int64(0), int64(0)}},
	{"the trash against the uploads and the index of its age", `SELECT t.file,
		EXISTS (SELECT 1 FROM upload u NOT INDEXED WHERE u.id = t.file AND +u.state = 2)
		AND EXISTS (SELECT 1 FROM trash i INDEXED BY trash_by_age WHERE i.since = t.since AND i.file = t.file)
		FROM trash t NOT INDEXED WHERE t.file > ? ORDER BY t.file LIMIT +?`, []any{int64(-1 << 63)}},
	{"the index of the age of the trash against it", `SELECT i.since, i.file,
		EXISTS (SELECT 1 FROM trash t NOT INDEXED WHERE t.file = i.file AND +t.since = i.since)
		FROM trash i INDEXED BY trash_by_age WHERE (i.since, i.file) > (?, ?) ORDER BY i.since, i.file LIMIT +?`, []any{int64(-1 << 63), int64(0)}},
	{"the chunks that wait for their removal", `SELECT r.node, r.upload_id, r.stripe, r.part, r.attempt, 1
		FROM removal r WHERE (r.node, r.upload_id, r.stripe, r.part, r.attempt) > (?, ?, ?, ?, ?) ORDER BY r.node, r.upload_id, r.stripe, r.part, r.attempt LIMIT +?`,
		[]any{int64(-1 << 63), "", int64(0), int64(0), int64(0)}},
}

// unsettledIn goes through the uploads of a state in their index: SQLite would not find
// its way back into one of several states.
func unsettledIn(state string) walk {
	return walk{"the index of unsettled uploads against the uploads", `SELECT i.id,
		EXISTS (SELECT 1 FROM upload u NOT INDEXED WHERE u.id = i.id AND u.state = ` + state + `)
		FROM upload i INDEXED BY upload_unsettled WHERE i.state <> 1 AND i.state = ` + state + ` AND i.id > ? ORDER BY i.id LIMIT +?`, []any{int64(-1 << 63)}}
}

// rows looks at some rows after a key, and returns the last one's, nil at the end.
func (k *checker) rows(ctx context.Context, w walk, from []any) (last []any, err error) {
	err = k.c.read(ctx, "check "+w.name, func(r *conn) error {
		last, err = w.some(r, from)
		return err
	})
	return last, err
}

// some looks at sliceRows rows after a key, and returns the last one's, nil at the end.
func (w walk) some(r *conn, from []any) (last []any, err error) {
	found := 0
	err = r.query(func(row []driver.Value) error {
		key := row[:len(w.first)]
		found++
		if integer(row[len(row)-1]) != 1 || last != nil && compareKeys(last, key) >= 0 {
			return fmt.Errorf("%w: %s: they differ at %v", raid.ErrCorrupt, w.name, key)
		}
		last = last[:0]
		for _, v := range key {
			last = append(last, any(v))
		}
		return nil
	}, w.sql, append(append([]any{}, from...), int64(sliceRows))...)
	if err != nil || found < sliceRows {
		return nil, err
	}
	return last, nil
}

// compareKeys orders keys as SQLite does, of integers and of texts of ASCII.
func compareKeys(a []any, b []driver.Value) int {
	for i := range a {
		switch x := a[i].(type) {
		case int64:
			y, ok := b[i].(int64)
			if !ok {
				return 1
			}
			if x != y {
				if x < y {
					return -1
				}
				return 1
			}
		case string:
			y, ok := b[i].(string)
			if !ok {
				return 1
			}
			if x != y {
				if x < y {
					return -1
				}
				return 1
			}
		default:
			return 1
		}
	}
	return 0
}
