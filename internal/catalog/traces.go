package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// tracesPage bounds the rows that one look at the tables takes, so that others get their
// turn.
const tracesPage = 1000

// Traces looks for uploads, which the index of upload ids does not know, in everything
// else that the catalog has: before what they left is given up. claims holds each with
// the file ids that its chunks' trailers name, which may be none.
//
// It returns what it found, for people, by upload: that is a node's word against the
// catalog's, and such an upload's chunks are to be kept. It fails with
// raid.ErrCorrupt, and counts as damaged from then on, when the catalog contradicts
// itself: a row that the index does not have, or parts of a file that is not there. That
// needs no node's word.
//
// It reads through the ids of all files, in pages.
func (c *Catalog) Traces(ctx context.Context, claims map[raid.UploadID][]raid.FileID) (map[raid.UploadID]string, error) {
	found := map[raid.UploadID]string{}
	for upload, files := range claims {
		for _, id := range files {
			trace, err := c.traceOf(ctx, upload, id)
			if err != nil {
				return nil, err
			}
			if trace != "" {
				found[upload] = trace
			}
		}
	}
	err := c.eachPage(ctx, "compare the table of uploads with its index", func(r *conn, last int64) (int64, error) {
		return indexed(r, last, claims)
	})
	if err == nil {
		err = c.eachPage(ctx, "compare parts with their files", partsOfFiles)
	}
	return found, err
}

// traceOf says what the catalog has under a file id that a chunk names, if that does
// not fit the chunk.
func (c *Catalog) traceOf(ctx context.Context, upload raid.UploadID, id raid.FileID) (trace string, err error) {
	c.mu.RLock()
	next := c.state.meta.nextID
	c.mu.RUnlock()
	if id < 1 || int64(id) >= next {
		return fmt.Sprintf("it names file %d, an id that this catalog never gave out", id), nil
	}
	err = c.read(ctx, fmt.Sprintf("look for traces of file %d", id), func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			if text(row[0]) == upload.String() {
				return fmt.Errorf("%w: the index of upload ids does not have file %d", raid.ErrCorrupt, id)
			}
			trace = fmt.Sprintf("it names file %d, which is another upload in this catalog", id)
			return nil
		}, "SELECT upload_id FROM upload NOT INDEXED WHERE id = ?", int64(id))
	})
	return trace, err
}

// eachPage calls page until it returns 0, each time with what it returned before.
func (c *Catalog) eachPage(ctx context.Context, name string, page func(r *conn, last int64) (int64, error)) error {
	for last, more := int64(0), true; more; {
		err := c.read(ctx, name, func(r *conn) (err error) {
			last, err = page(r, last)
			return err
		})
		if err != nil {
			return err
		}
		more = last > 0
	}
	return nil
}

// indexed fails if the table's rows after the last id have one of uploads, which are
// those that its index does not have. It goes by the table, never by an index.
func indexed(r *conn, last int64, uploads map[raid.UploadID][]raid.FileID) (next int64, err error) {
	err = r.query(func(row []driver.Value) error {
		next = integer(row[0])
		u, err := raid.ParseUploadID(text(row[1]))
		if err != nil {
			return fmt.Errorf("%w: file %d has upload id %q", raid.ErrCorrupt, next, text(row[1]))
		}
		if _, missing := uploads[u]; missing {
			return fmt.Errorf("%w: the index of upload ids does not have file %d", raid.ErrCorrupt, next)
		}
		return nil
	}, "SELECT id, upload_id FROM upload NOT INDEXED WHERE id > ? ORDER BY id LIMIT +?", last, int64(tracesPage))
	return next, err
}

// partsOfFiles fails if some file after the last one has parts and no row of its own.
func partsOfFiles(r *conn, last int64) (int64, error) {
	for range tracesPage {
		file, some, err := r.queryInt("SELECT file FROM part WHERE file > ? ORDER BY file LIMIT 1", last)
		if err != nil || !some {
			return 0, err
		}
		_, there, err := r.queryInt("SELECT 1 FROM upload NOT INDEXED WHERE id = ?", file)
		if err != nil {
			return 0, err
		}
		if !there { // the file may have been removed just now: then its parts are gone, too
			if _, some, err = r.queryInt("SELECT 1 FROM part WHERE file = ? LIMIT 1", file); err != nil {
				return 0, err
			}
			if some {
				return 0, fmt.Errorf("%w: parts of file %d are there, and the file is not", raid.ErrCorrupt, file)
			}
		}
		last = file
	}
	return last, nil
}
