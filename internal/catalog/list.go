package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"iter"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// listPage bounds the files that a listing reads at once, and listBytes
	// how many bytes of their names. 200 of 5,000 characters would be 4 MB for each
	// client that reads slowly. A page has one file at least.
	listPage  = 200
	listBytes = 64 << 10
	// searchPage bounds the names that a search looks at in one read.
	searchPage = 2000
)

// Files lists files by ascending id. It holds no lock and no transaction between
// pages: a file that is finished or deleted meanwhile is listed or not.
func (c *Catalog) Files(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.File, error] {
	if q.Lost {
		return c.filesWithoutCopy(ctx, q)
	}
	return func(yield func(raid.File, error) bool) {
		left := q.Limit
		for after, more := int64(q.After), true; more; {
			size := listPage
			if q.Limit > 0 {
				size = min(size, left)
			}
			var page []raid.File
			err := c.read(ctx, "list files", func(r *conn) (err error) {
				page, after, more, err = listFrom(r, q.Filename, after, size)
				return err
			})
			if err != nil {
				yield(raid.File{}, err)
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

// errPageFull ends a query whose page has all that it may have.
var errPageFull = errors.New("the page is full")

// listFrom reads up to size files after an id, the id to go on after, and whether
// to go on.
func listFrom(r *conn, filename string, after int64, size int) (page []raid.File, last int64, more bool, err error) {
	if filename != "" {
		return searchFrom(r, filename, after, size)
	}
	last = after
	bytes := 0
	err = r.query(func(row []driver.Value) error {
		f, err := scanFile(row)
		if err != nil {
			return err
		}
		page, last = append(page, f), int64(f.ID)
		if bytes += len(f.Filename); bytes >= listBytes {
			return errPageFull
		}
		return nil
	}, "SELECT "+fileColumns+" FROM upload u WHERE u.id > ? AND u.state = 1 ORDER BY u.id LIMIT +?", after, int64(size))
	if errors.Is(err, errPageFull) {
		return page, last, true, nil
	}
	return page, last, len(page) == size, err
}

// searchFrom looks at searchPage names. They are compared here and not with LIKE.
// That knows the case of ASCII letters only, stops at a NUL, and knows nothing of
// Unicode's forms. Between two pages everybody else gets on.
func searchFrom(r *conn, filename string, after int64, size int) (page []raid.File, last int64, more bool, err error) {
	wanted := searchFor(filename)
	var found []int64
	seen, bytes := 0, 0
	last = after
	err = r.query(func(row []driver.Value) error {
		seen++
		last = integer(row[0])
		name := text(row[1])
		if !wanted(name) {
			return nil
		}
		found = append(found, last)
		if bytes += len(name); len(found) == size || bytes >= listBytes {
			return errPageFull
		}
		return nil
	}, "SELECT id, filename FROM upload WHERE id > ? AND state = 1 ORDER BY id LIMIT +?", after, int64(searchPage))
	full := errors.Is(err, errPageFull)
	if err != nil && !full {
		return nil, last, false, err
	}
	for _, id := range found {
		f, err := findFile(r, id)
		if err != nil {
			if isGone(err) {
				continue
			}
			return nil, last, false, err
		}
		page = append(page, f)
	}
	return page, last, full || seen == searchPage, nil
}

// searchFor tells which names contain a text. Letter case does not count, nor does
// whether an accent is part of its letter (NFC, as most programs write) or follows it
// (NFD, as macOS does).
func searchFor(text string) func(name string) bool {
	lower := strings.ToLower(text)
	composed := norm.NFC.String(lower)
	return func(name string) bool {
		name = strings.ToLower(name)
		if strings.Contains(name, lower) {
			return true
		}
		other := norm.NFC.String(name) // the same string, if it is in that form
		return (other != name || composed != lower) && strings.Contains(other, composed)
	}
}
