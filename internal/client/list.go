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

// listPage is how many records are asked for at once.
const listPage = 500

// List yields files by ascending id, a page at a time, until the first error. It
// holds no connection while the caller looks at a file.
func (c *Client) List(ctx context.Context, q Query) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		left := q.Limit
		for {
			ask := int64(listPage)
			if q.Limit > 0 {
				ask = min(ask, left)
			}
			page, err := c.page(ctx, q, ask)
			if err != nil {
				yield(File{}, err)
				return
			}
			for _, f := range page {
				if f.ID <= q.After || q.Limit > 0 && left == 0 {
					return // a server that does not know pages sent all files once more
				}
				q.After = f.ID
				left--
				if !yield(f, nil) {
					return
				}
			}
			if int64(len(page)) != ask || q.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

func (c *Client) page(ctx context.Context, q Query, limit int64) ([]File, error) {
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
	var answer struct {
		Files []File `json:"files"`
	}
	err := c.get(ctx, "/files", v, &answer)
	return answer.Files, err
}
