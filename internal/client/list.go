package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"

	"github.com/raidpi/raidpi/internal/raid"
)

// Query selects files for a listing.
type Query struct {
	Filename string      // only names that contain it; empty: all
	After    raid.FileID // only ids above it
	Limit    int64       // at most so many; 0: all
	Lost     bool        // only those of which some part has no good copy on any node
}

// listPage is the number of records that are asked for at once.
const listPage = 500

// List yields files by ascending id, a page at a time, until the first error. It
// holds no connection while the caller looks at a file.
func (c *Client) List(ctx context.Context, q Query) iter.Seq2[File, error] {
	return listPages(q, func(f File) raid.FileID { return f.ID }, func(q Query, limit int64) (page []File, err error) {
		err = c.page(ctx, "/files", q, limit, &page)
		return page, err
	})
}

// listPages yields what ask returns for one page after the other.
func listPages[T any](q Query, idOf func(T) raid.FileID, ask func(q Query, limit int64) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		left := q.Limit
		for {
			limit := int64(listPage)
			if q.Limit > 0 {
				limit = min(limit, left)
			}
			page, err := ask(q, limit)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, f := range page {
				if idOf(f) <= q.After || q.Limit > 0 && left == 0 {
					return // a server that does not know pages sent all files once more
				}
				q.After = idOf(f)
				left--
				if !yield(f, nil) {
					return
				}
			}
			if int64(len(page)) != limit || q.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

// page asks for one page of a listing. files is a pointer to a slice.
func (c *Client) page(ctx context.Context, path string, q Query, limit int64, files any) error {
	v := url.Values{"limit": {strconv.FormatInt(limit, 10)}}
	if q.After > 0 {
		v.Set("after", strconv.FormatInt(int64(q.After), 10))
	}
	if q.Filename != "" {
		v.Set("q", q.Filename)
	}
	if q.Lost {
		v.Set("lost", "1")
	}
	answer := struct {
		Files any `json:"files"`
	}{files}
	return c.get(ctx, path, v, &answer)
}
