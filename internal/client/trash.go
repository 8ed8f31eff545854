package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/raidpi/raidpi/internal/raid"
)

// Trashed is a deleted file that can still be put back.
type Trashed struct {
	ID          raid.FileID `json:"id"`
	Filename    string      `json:"filename"`
	Size        int64       `json:"size"` // bytes
	ContentType string      `json:"content_type"`
	Created     string      `json:"created"`      // UTC, YYYY-MM-DD HH:MM:SS
	SHA256      string      `json:"sha256"`       // hexadecimal
	Deleted     string      `json:"deleted"`      // UTC
	SecondsLeft int64       `json:"seconds_left"` // that the controller has to run until it goes for good
}

// TrashTotals counts what the trash holds, or what went from it.
type TrashTotals struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Trash yields deleted files by ascending id, as List yields files.
func (c *Client) Trash(ctx context.Context, q Query) iter.Seq2[Trashed, error] {
	return listPages(q, func(f Trashed) raid.FileID { return f.ID }, func(q Query, limit int64) (page []Trashed, err error) {
		err = c.page(ctx, "/trash", q, limit, &page)
		return page, err
	})
}

// Purge removes a file for good, also one that is in the trash already. When an earlier
// attempt of the same call may have arrived, the file's absence is success.
func (c *Client) Purge(ctx context.Context, id raid.FileID) error {
	return c.delete(ctx, fmt.Sprintf("/files/%d", id), url.Values{"purge": {"1"}})
}

// Undelete puts a deleted file back. One that is there already is fine.
func (c *Client) Undelete(ctx context.Context, id raid.FileID) (f File, err error) {
	err = c.retry(ctx, nil, func() error {
		return c.post(ctx, fmt.Sprintf("/files/%d/undelete", id), nil, &f)
	})
	return f, err
}

// EmptyTrash removes all deleted files for good, and returns what they were. What an
// attempt removed whose answer was lost is not among them.
func (c *Client) EmptyTrash(ctx context.Context) (gone TrashTotals, err error) {
	err = c.retry(ctx, nil, func() error {
		return c.exchange(ctx, http.MethodDelete, "/trash", nil, func(body io.Reader) error {
			text, err := io.ReadAll(io.LimitReader(body, maxRefusal))
			if err != nil {
				return err
			}
			return notOurs(json.Unmarshal(text, &gone))
		})
	})
	return gone, err
}
