package httpapi

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// Trash keeps deleted files for a while. While the catalog is behind what nodes have
// seen, its methods return raid.ErrCatalogBehind where they would say raid.ErrNotFound.
type Trash interface {
	// Undelete makes a deleted file a file again. One that is a file stays one.
	// raid.ErrNotFound; raid.ErrConflict when some part of it has no good copy left.
	Undelete(ctx context.Context, id raid.FileID) (raid.File, error)
	// Purge deletes a file for good, also a deleted one; raid.ErrNotFound.
	Purge(ctx context.Context, id raid.FileID) error
	// Empty deletes all deleted files for good. After an error some may be.
	Empty(ctx context.Context) (raid.TrashTotals, error)
	// Find describes a deleted file; raid.ErrNotFound.
	Find(ctx context.Context, id raid.FileID) (raid.TrashedFile, error)
	// List yields deleted files as Index.Files yields files.
	List(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.TrashedFile, error]
}

// TrashTotals sums up the trash, or what went from it.
type TrashTotals struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// trashed is a file in the listing of the trash.
type trashed struct {
	ID          raid.FileID `json:"id"`
	Filename    string      `json:"filename"`
	Size        int64       `json:"size"`
	ContentType string      `json:"content_type"`
	Created     string      `json:"created"`
	SHA256      string      `json:"sha256"`
	Deleted     string      `json:"deleted"`      // UTC
	SecondsLeft int64       `json:"seconds_left"` // that the controller has to run until it goes
}

// listTrash serves GET /trash as a stream.
func (a *API) listTrash(x *exchange) error {
	q, err := listQuery(x.Request)
	if err != nil {
		return err
	}
	x.BeginJSON()
	if x.Request.Method == http.MethodHead {
		return nil
	}
	release, err := a.listings.Enter(x.Context(), httpserver.CallerOf(x.Request, x.token))
	if err != nil {
		return err
	}
	defer release()
	w := bufio.NewWriterSize(x, listBuffer)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	w.WriteString(`{"files": [`)
	separator := "\n"
	for t, err := range a.cfg.Trash.List(x.Context(), q) {
		if err != nil {
			return err
		}
		w.WriteString(separator)
		separator = ","
		f := &t.File
		err := enc.Encode(trashed{
			ID: f.ID, Filename: f.Filename, Size: f.Size, ContentType: f.ContentType, Created: f.Created,
			SHA256: hex.EncodeToString(f.SHA256[:]), Deleted: t.Deleted, SecondsLeft: int64(t.Left / time.Second),
		})
		if err != nil {
			return err
		}
	}
	w.WriteString("]}\n")
	return w.Flush()
}

// undelete serves POST /files/{id}/undelete.
func (a *API) undelete(x *exchange) error {
	id, err := parseID(x.id)
	if err != nil {
		return err
	}
	if err := checkConditions(x, id, a.anywhere); err != nil {
		return err
	}
	f, err := a.cfg.Trash.Undelete(x.Context(), id)
	if err != nil {
		return err
	}
	a.log.Info("File put back", "file", int64(id), "duration", time.Since(x.Started).Round(time.Millisecond))
	x.BeginJSON()
	if f.Stripes > 1 {
		f.PartNames = nil
	}
	w := bufio.NewWriterSize(x, 4<<10)
	if err := a.newRecorder(w).write(&f, given(&f)); err != nil {
		return err
	}
	w.WriteByte('\n')
	return w.Flush()
}

// anywhere describes a file or a deleted one.
func (a *API) anywhere(ctx context.Context, id raid.FileID) (raid.File, error) {
	f, err := a.cfg.Index.File(ctx, id)
	if errors.Is(err, raid.ErrNotFound) {
		t, err := a.cfg.Trash.Find(ctx, id)
		return t.File, err
	}
	return f, err
}

// emptyTrash serves DELETE /trash.
func (a *API) emptyTrash(x *exchange) error {
	gone, err := a.cfg.Trash.Empty(x.Context())
	if gone.Files > 0 {
		a.log.Info("Trash emptied", "files", gone.Files, "bytes", gone.Bytes, "whole", err == nil)
	}
	if err != nil {
		return err
	}
	return x.SendJSON(http.StatusOK, TrashTotals{gone.Files, gone.Bytes})
}
