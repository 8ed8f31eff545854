package catalog

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// seal has the catalog's pages checked from now on. One of an earlier version, whose
// pages have no room for seals, is written anew first, and stays beside it as its copy.
func (c *Catalog) seal(ctx context.Context, cfg Config, opt options, query url.Values) error {
	kind, err := sealsOf(c.path)
	if err == nil && kind == sealsNone {
		if err := c.sealAll(ctx, cfg, opt, query); err != nil {
			return err
		}
		kind, err = sealsOf(c.path)
	}
	if err != nil {
		return err
	}
	h := c.health
	end, err := watching(c.path, &watch{sealed: kind == sealsAll, found: h.page, rotten: h.frame})
	if err != nil {
		return err
	}
	c.unwatch = end
	file, err := os.OpenFile(c.path, os.O_RDWR|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // it belongs to somebody else
		file, err = os.OpenFile(c.path, os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	c.checker = checker{c: c, file: file, step: cmp.Or(opt.slow, slowEvery), rest: cmp.Or(opt.rest, checkRest)}
	return nil
}

type seals int

const (
	sealsAll  seals = iota // or there is no page yet
	sealsNone              // an earlier version, or another program, has made it
	notOurs                // it is no catalog, which is told later
)

// sealsOf tells whether the pages of the database at path have seals.
func sealsOf(path string) (seals, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, pageSize)
	switch _, err := io.ReadFull(f, page); {
	case errors.Is(err, io.EOF):
		return sealsAll, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return notOurs, nil
	case isSealed(page):
		return sealsAll, nil
	case err != nil:
		return 0, err
	case bytes.HasPrefix(page[sealAt:], sealTag[:]):
		return 0, fmt.Errorf("%w: its header does not match its checksum", raid.ErrCorrupt)
	case !bytes.HasPrefix(page, []byte("SQLite format 3\x00")) || binary.BigEndian.Uint32(page[68:]) != applicationID:
		return notOurs, nil
	}
	return sealsNone, nil
}

// sealAll writes a catalog without seals anew, with them, once SQLite has found it
// whole, and puts it into its place. What it was stays beside it.
func (c *Catalog) sealAll(ctx context.Context, cfg Config, opt options, query url.Values) error {
	removeParts(c.path)
	old, err := openConn(c.path, query, fmt.Sprintf("busy_timeout = %d", opt.busy.Milliseconds()), "cache_size = -4096", "temp_store = MEMORY")
	if err != nil {
		return err
	}
	s := sealer{old: old, path: c.path, query: query, progress: progress{tell: cfg.Progress, every: opt.look}}
	version, err := s.prepare(ctx, len(opt.migrations))
	if err == nil {
		err = s.write(ctx)
	}
	err = cmp.Or(err, old.close())
	if err != nil {
		_ = os.Remove(s.part())
		return err
	}
	copied := fmt.Sprintf("%s.v%d", c.path, version)
	if err := s.swap(copied); err != nil {
		return fmt.Errorf("put the catalog with checksums into its place: %w", err)
	}
	cfg.Log.Info("the catalog's pages have checksums now; what it was is kept", "copy", copied)
	return nil
}

// sealer writes a catalog anew, with room for seals.
type sealer struct {
	old      *conn
	path     string
	query    url.Values
	progress progress
	fromRows bool // indexes are made anew, and not copied
}

func (s *sealer) part() string { return s.path + ".v0.part" }

// prepare looks whether the catalog may and can be written anew.
func (s *sealer) prepare(ctx context.Context, known int) (version int64, err error) {
	if version, err = schemaVersion(s.old); err != nil {
		return 0, err
	}
	if version > int64(known) {
		return 0, newer(s.path, version, known)
	}
	if err := checkpointed(s.old); err != nil {
		return 0, err
	}
	if err := s.room(); err != nil {
		return 0, err
	}
	reads := sealReads()
	return version, s.progress.during("checking the catalog", 0, reads, func() error { return integrity(ctx, s.old) })
}

// room fails when there is none for another catalog.
func (s *sealer) room() error {
	size, err := databaseSize(s.old)
	if err != nil {
		return err
	}
	free, err := space(s.path)
	if err != nil {
		return err
	}
	if need := size + size/64 + floor; free < need {
		return advised{fmt.Errorf("%w: the catalog is written anew once, with checksums, beside what it is. That needs %d MiB more on the disk of %s, and %d MiB are free. "+
			"Nothing was changed. Free %d MiB and start raid-controller again, or install the version that ran before",
			raid.ErrNoSpace, mebibytes(need), filepath.Dir(s.path), free>>20, mebibytes(need-free))}
	}
	return nil
}

// write writes all of the catalog into another file, durably.
func (s *sealer) write(ctx context.Context) error {
	f, err := os.OpenFile(s.part(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := watching(s.part(), &watch{sealed: true, found: func(uint32, verdictOfPage) {}, rotten: func(int64) {}})
	if err != nil {
		return err
	}
	defer end()
	size, err := databaseSize(s.old)
	if err != nil {
		return err
	}
	return s.progress.filling("writing the catalog anew, with checksums", size, f, func() error { return s.copyAll(ctx) })
}

func (s *sealer) copyAll(ctx context.Context) (err error) {
	query := maps.Clone(s.query)
	query.Set("mode", "rw")
	to, err := openConn(s.part(), query, "journal_mode = OFF", "synchronous = OFF", "cache_size = -8192", "temp_store = MEMORY")
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, to.close()) }()
	if err := to.script("ATTACH ? AS old", s.path); err != nil {
		return err
	}
	var tables, others, steps []string
	err = s.old.query(func(r []driver.Value) error {
		if text(r[0]) == "table" {
			tables = append(tables, text(r[1]))
			steps = append(steps, text(r[2]))
		} else {
			others = append(others, text(r[2]))
		}
		return nil
	}, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
	if err != nil {
		return err
	}
	for _, t := range tables {
		step := fmt.Sprintf(`INSERT INTO main."%[1]s" SELECT * FROM old."%[1]s"`, strings.ReplaceAll(t, `"`, `""`))
		if s.fromRows {
			step += " NOT INDEXED WHERE true" // else SQLite copies indexes as they are
		}
		steps = append(steps, step)
	}
	steps = append(append([]string{"BEGIN"}, steps...), others...)
	var version, application int64
	err = s.old.query(func(r []driver.Value) error { version, application = integer(r[0]), integer(r[1]); return nil },
		"SELECT v.user_version, a.application_id FROM pragma_user_version v, pragma_application_id a")
	if err != nil {
		return err
	}
	steps = append(steps, fmt.Sprintf("PRAGMA main.application_id = %d", application), fmt.Sprintf("PRAGMA main.user_version = %d", version), "COMMIT")
	for _, sql := range steps {
		if err := to.longScript(ctx, sql); err != nil {
			return fmt.Errorf("%.60q: %w", sql, err)
		}
	}
	return nil
}

// hardLink is os.Link but for tests: some file systems have none.
var hardLink = os.Link

// swap puts the new database into the place of the old one, which becomes a copy of
// that name. Whenever the power goes, one of them is in its place.
func (s *sealer) swap(copied string) error {
	if log, err := os.Stat(s.path + "-wal"); err == nil && log.Size() > 0 {
		return fmt.Errorf("%w: another program has the catalog open; end it", raid.ErrBusy)
	}
	link, dir := copied+".part", filepath.Dir(s.path)
	from := link
	if err := hardLink(s.path, link); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
		from = s.path // for a moment there is none in its place; the start after a power cut says what to do
	} else if err != nil {
		return err
	}
	if err := os.Rename(from, copied); err != nil {
		return err
	}
	_ = os.Remove(link) // it stays when the copy was made before, and the power went
	if err := syncFolder(dir); err != nil {
		return err
	}
	if err := os.Rename(s.part(), s.path); err != nil {
		return err
	}
	return syncFolder(dir)
}
