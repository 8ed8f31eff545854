package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// trashColumns are read by scanTrashed.
const trashColumns = "u.id, u.filename, u.content_type, u.created, u.size, u.sha256, u.stripes, t.deleted, t.since"

func (c *Catalog) scanTrashed(r []driver.Value) (f raid.TrashedFile, err error) {
	f.File = raid.File{
		ID: raid.FileID(integer(r[0])), Filename: text(r[1]), ContentType: text(r[2]), Created: text(r[3]), Size: integer(r[4]), Stripes: integer(r[6]),
	}
	if copy(f.File.SHA256[:], blob(r[5])) != len(f.File.SHA256) {
		return f, fmt.Errorf("%w: file %d has a short digest", raid.ErrCorrupt, f.File.ID)
	}
	f.Deleted = text(r[7])
	f.Left = max(0, time.Duration(integer(r[8])-c.ran())*time.Millisecond+c.keep)
	return f, nil
}

// Trashed describes a file that is in the trash. It fails with raid.ErrNotFound.
func (c *Catalog) Trashed(ctx context.Context, id raid.FileID) (f raid.TrashedFile, err error) {
	err = c.read(ctx, fmt.Sprintf("look up deleted file %d", id), func(r *conn) error {
		found := false
		err := r.query(func(row []driver.Value) (err error) {
			found = true
			f, err = c.scanTrashed(row)
			return err
		}, "SELECT "+trashColumns+" FROM upload u CROSS JOIN trash t ON t.file = u.id WHERE u.id = ? AND u.state = 2", int64(id))
		if err == nil && !found {
			err = raid.ErrNotFound
		}
		return err
	})
	return f, err
}

// Trash lists deleted files that can be put back, by ascending id. As Files does, it
// holds nothing between pages.
func (c *Catalog) Trash(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.TrashedFile, error] {
	return func(yield func(raid.TrashedFile, error) bool) {
		if c.trash().Files == 0 {
			if err := c.writer.check(); err != nil {
				yield(raid.TrashedFile{}, err)
			}
			return
		}
		wanted := searchFor(q.Filename)
		left := q.Limit
		for after, more := int64(q.After), true; more; {
			size := listPage
			if q.Limit > 0 {
				size = min(size, left)
			}
			var page []raid.TrashedFile
			err := c.read(ctx, "list deleted files", func(r *conn) (err error) {
				page, after, more, err = c.trashFrom(r, wanted, after, size)
				return err
			})
			if err != nil {
				yield(raid.TrashedFile{}, err)
				return
			}
			for _, f := range page {
				if !yield(f, nil) {
					return
				}
			}
			if left -= len(page); q.Limit > 0 && left <= 0 {
				return
			}
		}
	}
}

// trashFrom looks at up to searchPage deleted files after an id. It returns the wanted
// ones, at most size, the id to go on after, and whether to go on.
func (c *Catalog) trashFrom(r *conn, wanted func(string) bool, after int64, size int) (page []raid.TrashedFile, last int64, more bool, err error) {
	last = after
	seen, bytes := 0, 0
	err = r.query(func(row []driver.Value) error {
		seen++
		last = integer(row[0])
		if !wanted(text(row[1])) {
			return nil
		}
		f, err := c.scanTrashed(row)
		if err != nil {
			return err
		}
		page = append(page, f)
		if bytes += len(f.File.Filename); len(page) == size || bytes >= listBytes {
			return errPageFull
		}
		return nil
	}, "SELECT "+trashColumns+` FROM trash t NOT INDEXED CROSS JOIN upload u ON u.id = t.file
		WHERE t.file > ? AND u.state = 2 ORDER BY t.file LIMIT +?`, after, int64(searchPage))
	full := errors.Is(err, errPageFull)
	if err != nil && !full {
		return nil, last, false, err
	}
	return page, last, full || seen == searchPage, nil
}
