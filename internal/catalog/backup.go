package catalog

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// keepBackups bounds the copies that upgrades have made and that stay beside the
// catalog: those of the newest versions.
const keepBackups = 2

// backup is a copy of the catalog beside it that an upgrade has made.
type backup struct {
	path    string
	version int64
}

// backups lists the copies beside the catalog at path, the newest version first.
func backups(path string) (found []backup, err error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("look for copies of the catalog: %w", err)
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), base+".v")
		version, err := strconv.ParseInt(number, 10, 32)
		if ok && err == nil && version > 0 && number == strconv.FormatInt(version, 10) && e.Type().IsRegular() {
			found = append(found, backup{filepath.Join(dir, e.Name()), version})
		}
	}
	slices.SortFunc(found, func(a, b backup) int { return cmp.Compare(b.version, a.version) })
	return found, nil
}

// prune removes all backups but the newest. What can't be removed stays.
func prune(path string, log *slog.Logger) {
	found, err := backups(path)
	if err != nil {
		log.Warn("Old copies of the catalog are kept", "reason", err)
		return
	}
	for _, b := range found[min(keepBackups, len(found)):] {
		if err := os.Remove(b.path); err != nil {
			log.Warn("An old copy of the catalog is kept", "copy", b.path, "reason", err)
			continue
		}
		log.Info("an old copy of the catalog is removed", "copy", b.path)
	}
}

// removeParts removes what copies have left that were cut off.
func removeParts(path string) {
	dir, base := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir)) // a copy that is made next fails with words
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), base+".v") && strings.HasSuffix(e.Name(), ".part") {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// copyFirst leaves a backup of a catalog whose schema is about to change. One that an
// upgrade made which failed then is not made again. The service manager tries every
// ten seconds, and a card bears only so many copies.
func (m *migrator) copyFirst(ctx context.Context, version int64) error {
	size, err := databaseSize(m.conn)
	if err != nil {
		return err
	}
	target := backup{fmt.Sprintf("%s.v%d", m.path, version), version}
	made, err := m.holdsAll(target)
	if err != nil {
		return err
	}
	need := size + floor // for the log, which a change of everything fills
	if !made {
		need += size
	}
	free, err := space(m.path)
	if err != nil {
		return err
	}
	if free < need {
		return advised{fmt.Errorf("%w: before its schema changes a copy of the catalog is made beside it, and the change is written to its log. That needs %d MiB more on the disk of %s, and %d MiB are free. "+
			"Nothing was changed. Free %d MiB and start raid-controller again, or install the version that ran before",
			raid.ErrNoSpace, mebibytes(need), filepath.Dir(m.path), free>>20, mebibytes(need-free))}
	}
	if made {
		m.log.Info("the catalog was copied by an upgrade that failed, and is as it was", "copy", target.path, "version", version)
		return syncFolder(filepath.Dir(target.path)) // that may be where it failed
	}
	if err := m.copyTo(ctx, target.path); err != nil {
		return fmt.Errorf("copy to %s before changing the schema: %w", target.path, err)
	}
	m.log.Info("catalog copied before its schema changes", "copy", target.path, "version", version)
	return nil
}

// holdsAll tells whether b has all that the catalog has. Each start and each write
// takes another commit number, those of the version that ran before too.
func (m *migrator) holdsAll(b backup) (bool, error) {
	copied, ok := b.commit()
	if !ok {
		return false, nil
	}
	now, ok, err := m.conn.queryInt(commitOf)
	return err == nil && ok && now == copied, err
}

// mebibytes rounds up.
func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// copyTo writes a copy of the database to target, durably, replacing an earlier
// copy only when the new one is whole.
func (m *migrator) copyTo(ctx context.Context, target string) error {
	part := target + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // VACUUM INTO takes an empty file
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := databaseSize(m.conn)
	if err != nil {
		return err
	}
	err = m.progress.filling("copying the catalog before its schema changes", size, f, func() error {
		return m.conn.longScript(ctx, "VACUUM INTO ?", part)
	})
	if err != nil {
		_ = os.Remove(part) // it takes room that may be what is missing
		return err
	}
	if err := os.Rename(part, target); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(target))
}

// databaseSize returns what the database takes when nothing in it is unused, in bytes.
func databaseSize(c *conn) (size int64, err error) {
	err = c.query(func(r []driver.Value) error {
		size = (integer(r[0]) - integer(r[1])) * integer(r[2])
		return nil
	}, `SELECT p.page_count, f.freelist_count, s.page_size
		FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s`)
	if err != nil {
		return 0, fmt.Errorf("read the database's size: %w", err)
	}
	return size, nil
}

// usable returns the newest backup of at most the version that is known, and what
// is in it, for a person. One that is damaged is none.
func usable(path string, known int) (b backup, holds string, ok bool) {
	found, err := backups(path)
	if err != nil {
		return b, "", false // they are only good advice
	}
	for _, b := range found {
		if b.version > int64(known) {
			continue
		}
		if holds, err := b.holds(); err == nil {
			return b, holds, true
		}
	}
	return b, "", false
}

const commitOf = "SELECT commit_number FROM meta"

// commit is the backup's commit number, if it can be read.
func (b backup) commit() (commit int64, ok bool) {
	if !exists(b.path) {
		return 0, false
	}
	if _, err := b.holds(); err != nil {
		return 0, false
	}
	c, err := b.open()
	if err != nil {
		return 0, false
	}
	defer func() { _ = c.close() }() // it was only read
	commit, ok, err = c.queryInt(commitOf)
	return commit, ok && err == nil
}

func (b backup) open() (*conn, error) {
	return openConn(b.path, url.Values{"mode": {"ro"}, "immutable": {"1"}})
}

// holds reads what a backup has, without writing anything.
func (b backup) holds() (string, error) {
	c, err := b.open()
	if err != nil {
		return "", err
	}
	defer func() { _ = c.close() }() // it was only read
	version, err := schemaVersion(c)
	if err == nil && version != b.version {
		err = fmt.Errorf("it has version %d: %w", version, raid.ErrInvalid)
	}
	if err != nil {
		return "", err
	}
	commit, _, err := c.queryInt(commitOf)
	if err != nil {
		return "", err
	}
	files, ok, err := c.queryInt("SELECT files FROM meta")
	if err != nil || !ok {
		return "", fmt.Errorf("read %s: %w", b.path, cmp.Or(err, raid.ErrCorrupt))
	}
	holds := fmt.Sprintf("%d files, commit %d", files, commit)
	if version < latestSince {
		return holds, nil
	}
	err = c.query(func(r []driver.Value) error { holds += ", last written " + text(r[0]) + " UTC"; return nil }, "SELECT latest FROM meta")
	return holds, err
}

// latestSince is the version of the schema from which on meta has the column.
const latestSince = 4
