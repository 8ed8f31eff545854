package catalog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/raid"
)

// The tests run this program again as the process that is killed or starved.
func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" {
		os.Exit(child(job, os.Getenv(childPath)))
	}
	goleak.VerifyTestMain(m)
}

var bg = context.Background()

func config(path string) Config {
	return Config{Path: path, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)}
}

// openTest opens the catalog at path, or a new one when that is empty, and closes
// it with the test.
func openTest(t testing.TB, path string) *Catalog {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "catalog.db")
	}
	return openWith(t, config(path), options{})
}

func openWith(t testing.TB, cfg Config, opt options) *Catalog {
	t.Helper()
	if opt.migrations == nil {
		opt.migrations = migrations()
	}
	if opt.checkpoint == 0 {
		opt.checkpoint = checkpointPages
	}
	if opt.busy == 0 {
		opt.busy = 300 * time.Millisecond
	}
	if opt.look == 0 {
		opt.look = time.Millisecond
	}
	c, err := open(bg, cfg, opt)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks that an error is the one wanted and says something in words.
func wants(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// newFile is a file of so many stripes with two parts of two copies each, on
// nodes n0, n1, n2, n3.
func newFile(t testing.TB, c *Catalog, stripes int64) raid.FinishedUpload {
	t.Helper()
	fin, err := makeFile(c, stripes)
	must(t, err)
	return fin
}

func makeFile(c *Catalog, stripes int64) (raid.FinishedUpload, error) {
	id, err := c.NextID(bg)
	if err != nil {
		return raid.FinishedUpload{}, err
	}
	upload, err := raid.NewUploadID(c.Run(), rand.Reader)
	f := raid.File{
		ID: id, Upload: upload, Filename: fmt.Sprintf("file %d.jpg", id), ContentType: "image/jpeg", Created: "2026-01-02 03:04:05",
		Size: stripes*100 - 1, Level: "raid1", StripeSize: 100, Stripes: stripes, SHA256: [32]byte{1, 2, 31: 3},
	}
	return raid.FinishedUpload{File: f, Parts: newParts(0, stripes)}, err
}

func newParts(from, to int64) (parts []raid.Part) {
	for s := from; s < to; s++ {
		for p := 1; p <= 2; p++ {
			n := int(s) + p
			parts = append(parts, raid.Part{Stripe: s, Number: p, Length: 50, CRC: 1<<31 + uint32(n), Copies: []raid.Copy{
				{Index: 1, Attempt: 1, Node: nodeN(n)}, {Index: 2, Attempt: 2, Node: nodeN(n + 1)},
			}})
		}
	}
	return parts
}

// next is a new copy of a part, with a number of its own.
func next(t testing.TB, c *Catalog, id raid.FileID, stripe int64, part, index int, node raid.NodeID) raid.Copy {
	t.Helper()
	n, err := c.NextAttempt(bg, id, stripe, part, node)
	must(t, err)
	return raid.Copy{Index: index, Attempt: n, Node: node}
}

func nodeN(n int) raid.NodeID { return raid.NodeID(fmt.Sprintf("n%d", n%4)) }

// store finishes a new file.
func store(t testing.TB, c *Catalog, stripes int64) raid.File {
	t.Helper()
	f, err := c.Finish(bg, newFile(t, c, stripes))
	must(t, err)
	return f
}

// storeMany finishes n files, of one stripe and of two in turn, with one commit.
func storeMany(t testing.TB, c *Catalog, n int) (files []raid.File) {
	t.Helper()
	var fins []raid.FinishedUpload
	for i := range n {
		fins = append(fins, newFile(t, c, 1+int64(i%2)))
	}
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		for i := range fins {
			if err := c.finish(t, &fins[i], 0); err != nil {
				return err
			}
			files = append(files, fins[i].File)
		}
		return nil
	}}))
	return files
}

// begin begins a new upload; its parts are not appended.
func begin(t testing.TB, c *Catalog, stripes int64) raid.FinishedUpload {
	t.Helper()
	fin := newFile(t, c, stripes)
	fin.Begun = true
	must(t, c.Begin(bg, raid.File{ID: fin.File.ID, Upload: fin.File.Upload, Level: "raid1", StripeSize: 100}))
	return fin
}

func sweepAll(t testing.TB, c *Catalog, limit int) {
	t.Helper()
	for more := true; more; {
		var err error
		more, err = c.Sweep(bg, limit)
		must(t, err)
	}
}

// removalsOf are the chunk names that wait to be removed from any node, sorted.
func removalsOf(t testing.TB, c *Catalog) (names []string) {
	t.Helper()
	counts, err := c.RemovalCounts(bg)
	must(t, err)
	for node, n := range counts {
		rs, err := c.Removals(bg, node, 1<<30)
		must(t, err)
		if int64(len(rs)) != n {
			t.Errorf("node %s has %d removals, counted as %d", node, len(rs), n)
		}
		for _, r := range rs {
			names = append(names, string(r.Key.Name())+"@"+string(r.Node))
		}
	}
	slices.Sort(names)
	return names
}

// chunksOf are the chunks of parts as removalsOf writes them.
func chunksOf(u raid.UploadID, parts []raid.Part) (names []string) {
	for _, p := range parts {
		for _, c := range p.Copies {
			names = append(names, string(p.Key(u, c).Name())+"@"+string(c.Node))
		}
	}
	slices.Sort(names)
	return names
}

func listAll(t testing.TB, c *Catalog, q raid.FileQuery) (files []raid.File) {
	t.Helper()
	for f, err := range c.Files(bg, q) {
		must(t, err)
		files = append(files, f)
	}
	return files
}

// allNames are the chunk names of a file's first and second parts.
func allNames(c *Catalog, f raid.File) (part1, part2 []raid.ChunkName, err error) {
	for n, err := range c.Names(bg, f, 1) {
		if err != nil {
			return nil, nil, err
		}
		part1 = append(part1, n)
	}
	for n, err := range c.Names(bg, f, 2) {
		if err != nil {
			return nil, nil, err
		}
		part2 = append(part2, n)
	}
	return part1, part2, nil
}

// sqlDo changes the database behind the catalog's back.
func sqlDo(t testing.TB, c *Catalog, sql string, args ...any) {
	t.Helper()
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(tx *tx) error {
		_, err := tx.exec(sql, args...)
		return err
	}}))
}

func sqlInt(t testing.TB, c *Catalog, sql string, args ...any) (n int64) {
	t.Helper()
	must(t, c.read(bg, "test", func(r *conn) (err error) {
		n, _, err = r.queryInt(sql, args...)
		return err
	}))
	return n
}

// idleWriter is the writer's connection, which is not in use while nobody
// writes: an op that changes nothing is the last thing that used it.
func idleWriter(t testing.TB, c *Catalog) *conn {
	t.Helper()
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(*tx) error { return nil }}))
	return c.writer.conn
}
