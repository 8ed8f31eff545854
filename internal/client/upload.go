package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/raidpi/raidpi/internal/raid"
)

// Upload describes a file to store.
type Upload struct {
	Filename    string
	ContentType string // empty: application/octet-stream

	// Body is read from where it stands. When it is an io.Seeker an upload that
	// broke off is repeated from there. After a failed upload one last Read of it
	// may still be under way.
	Body io.Reader
	Size int64 // bytes of Body to store; -1: up to its end

	// Progress is told the bytes sent so far, from another goroutine but never
	// twice at once. They are fewer than before when an upload is repeated. May be nil.
	Progress func(sent int64)
}

// Stored is a file that the array has taken for good.
type Stored struct {
	ID       raid.FileID
	Size     int64
	SHA256   [32]byte // of what was sent, and of what was stored
	Degraded bool     // too few nodes were up, so copies share one until it is repaired
	Lab      bool     // some copy rests on a lab node
}

// Upload stores a file. The result is on disk, on as many nodes as there are
// copies. A [*DigestError] means that the array stored other bytes than were
// read here; Stored then names the file, which should be deleted.
func (c *Client) Upload(ctx context.Context, u Upload) (stored Stored, err error) {
	src, err := newSource(u)
	if err != nil {
		return stored, err
	}
	key := rand.Text()
	err = c.retry(ctx, src.again, func() error {
		if err := src.rewind(); err != nil {
			return err
		}
		stored, err = c.uploadOnce(ctx, u, src, key)
		return err
	})
	return stored, err
}

// expectFrom is the size, in bytes, from which on an upload waits for the controller's consent
// before its body. That costs a round trip but saves sending a body that will be refused.
const expectFrom = 64 << 10

func (c *Client) uploadOnce(ctx context.Context, u Upload, src *source, key string) (stored Stored, err error) {
	w := newWatch(ctx, c.stall)
	defer w.stop()
	req, err := c.request(w, http.MethodPost, "/files", url.Values{"filename": {u.Filename}})
	if err != nil {
		return stored, err
	}
	contentType := u.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Idempotency-Key", key)
	body := &body{src: src, watch: w, progress: u.Progress, closed: make(chan struct{})}
	switch {
	case u.Size == 0:
		req.Body = http.NoBody
		close(body.closed)
	case u.Size > 0:
		req.Body, req.ContentLength = body, u.Size
	default:
		req.Body, req.ContentLength = body, -1
		// The digest is known only at the end; sent there, it keeps a damaged file
		// from being stored at all.
		body.trailer = http.Header{"Repr-Digest": nil}
		req.Trailer = body.trailer
	}
	if u.Size < 0 || u.Size >= expectFrom {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.do(req, w)
	if err != nil {
		w.stop()
		body.settle()
		if failed := src.failed(); failed != nil && ctx.Err() == nil && !w.stalled() {
			return stored, fmt.Errorf("%w: %w", ErrSource, failed)
		}
		return stored, err
	}
	defer resp.Body.Close()
	stored, err = c.readStored(resp, w)
	if err != nil {
		return stored, err
	}
	w.stop()
	body.settle()
	return stored, src.compare(&stored, resp.Header)
}

func (c *Client) readStored(resp *http.Response, w *watch) (stored Stored, err error) {
	var answer struct {
		ID       raid.FileID `json:"id"`
		Degraded bool        `json:"degraded"`
		Lab      bool        `json:"lab"`
	}
	text, err := io.ReadAll(io.LimitReader(w.reader(resp.Body), maxRefusal))
	if err != nil {
		return stored, c.explain(err, w)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return stored, notOurs(err)
	}
	if resp.StatusCode != http.StatusCreated || answer.ID <= 0 {
		return stored, errNotOurs
	}
	return Stored{ID: answer.ID, Degraded: answer.Degraded, Lab: answer.Lab}, nil
}
