package sim

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"github.com/raidpi/raidpi/internal/raid"
)

// copyRow is a copy of a part of a complete file, as the catalog has it.
type copyRow struct {
	file   int64
	stripe int64
	part   int
	name   raid.ChunkName
	node   int64 // its key
	flaw   int64
}

type partKey struct {
	file, stripe int64
	part         int
}

func (k partKey) compare(l partKey) int {
	return cmp.Or(cmp.Compare(k.file, l.file), cmp.Compare(k.stripe, l.stripe), cmp.Compare(k.part, l.part))
}

func (r copyRow) key() partKey { return partKey{r.file, r.stripe, r.part} }

// query asks the catalog's file, beside the controller, which may run.
func (w *world) query(text string, row func([]driver.Value)) (err error) {
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: filepath.Join(w.boss.dir, "catalog.db"), RawQuery: "mode=ro"}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return err
	}
	conn, err := connector.Connect(context.Background())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	rows, err := conn.(driver.QueryerContext).QueryContext(context.Background(), text, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for values := make([]driver.Value, len(rows.Columns())); ; {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		row(values)
	}
}

// surplus counts the good copies in the catalog that no file needs.
func (w *world) surplus() (n int64) {
	w.must(w.query(`SELECT count(*) FROM surplus`, func(v []driver.Value) { n = v[0].(int64) }))
	return n
}

// besideSurplus returns the copies of the parts of which a node has a surplus one.
func (w *world) besideSurplus(node string) (all []copyRow, err error) {
	surplus := map[partKey]bool{}
	err = w.query(`SELECT s.file, s.stripe, s.part, n.id FROM surplus s JOIN node n ON n.key = s.node`, func(v []driver.Value) {
		if v[3].(string) == node {
			surplus[partKey{v[0].(int64), v[1].(int64), int(v[2].(int64))}] = true
		}
	})
	if err != nil {
		return nil, err
	}
	all, err = w.readCatalog()
	return slices.DeleteFunc(all, func(r copyRow) bool { return !surplus[r.key()] }), err
}

func (w *world) readCatalog() (all []copyRow, err error) {
	err = w.query(`SELECT c.file, c.stripe, c.part, c.name, coalesce(k.node, 0), c.flaw FROM chunk_name c
		JOIN chunk k USING (file, stripe, part, copy) JOIN upload u ON u.id = c.file WHERE u.state = 1
		ORDER BY c.file, c.stripe, c.part, c.copy`, func(v []driver.Value) {
		all = append(all, copyRow{v[0].(int64), v[1].(int64), int(v[2].(int64)), raid.ChunkName(v[3].(string)), v[4].(int64), v[5].(int64)})
	})
	return all, err
}

// checkSpread compares the kept table of how files are spread with a search of all.
func (w *world) checkSpread() {
	rows, err := w.readCatalog()
	kept := map[string]int64{}
	err = errors.Join(err, w.query(`SELECT places, files FROM spread WHERE files <> 0`, func(v []driver.Value) { kept[v[0].(string)] = v[1].(int64) }))
	if err != nil {
		w.model.fault("read how files are spread: %v", err)
		return
	}
	sets := map[int64]map[partKey][]int64{} // of each file the nodes of each part
	for _, r := range rows {
		if sets[r.file] == nil {
			sets[r.file] = map[partKey][]int64{}
		}
		if r.flaw != 1 {
			sets[r.file][r.key()] = append(sets[r.file][r.key()], r.node)
		} else {
			sets[r.file][r.key()] = append(sets[r.file][r.key()], []int64{}...)
		}
	}
	found := map[string]int64{}
	for _, parts := range sets {
		var words []string
		for _, nodes := range parts {
			slices.Sort(nodes)
			text := strings.ReplaceAll(strings.Trim(fmt.Sprint(slices.Compact(nodes)), "[]"), " ", ".")
			words = append(words, cmp.Or(text, "-"))
		}
		slices.Sort(words)
		found[strings.Join(slices.Compact(words), " ")]++
	}
	for places, n := range found {
		if kept[places] != n {
			w.model.fault("%d files have their copies on %q, and spread says %d", n, places, kept[places])
		}
		delete(kept, places)
	}
	for places, n := range kept {
		w.model.fault("no file has its copies on %q, and spread says %d", places, n)
	}
}
