package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/uploadbody"
)

// created is the answer to an upload. The two marks are there only when they
// have something to say, so the assignment's clients get {"id": 7}.
type created struct {
	ID       raid.FileID `json:"id"`
	Degraded bool        `json:"degraded,omitempty"`
	Lab      bool        `json:"lab,omitempty"`
}

// upload serves POST /files. What can be known to be wrong without the body is
// refused before it is read, and so before the client is told to send it.
func (a *API) upload(x *exchange) error {
	body, err := x.Body()
	if err != nil {
		return err
	}
	format, err := uploadbody.FormatOf(x.Request, a.cfg.MaxFile)
	if err != nil {
		return err
	}
	key, done, err := a.claim(x)
	if err != nil {
		return err
	}
	if done != nil {
		return x.sendCreated(*done)
	}
	if key != nil {
		defer a.keys.release(key.Key)
	}
	if err := a.cfg.Files.CheckRoom(format.Most); err != nil {
		return err
	}
	f, err := a.store(x, format, body, key)
	if err != nil {
		return err
	}
	a.log.Info("File uploaded", "file", int64(f.ID), "size", f.Size, "stripes", f.Stripes, "degraded", f.Degraded, "lab", f.Lab,
		"duration", time.Since(x.Started).Round(time.Millisecond))
	return x.sendCreated(f)
}

// store runs the upload while it holds a place for it.
func (a *API) store(x *exchange, format *uploadbody.Format, body io.Reader, key *raid.IdempotencyKey) (raid.File, error) {
	release, err := a.transfers.Enter(x.Context(), httpserver.CallerOf(x.Request, x.token))
	if err != nil {
		return raid.File{}, err
	}
	defer release()
	u, err := format.Open(body)
	if err != nil {
		return raid.File{}, err
	}
	u.Idempotency = key
	f, err := a.cfg.Files.Upload(x.Context(), u)
	if errors.Is(err, raid.ErrPrecondition) { // the key was stored by somebody else meanwhile
		err = &httpserver.Error{Status: http.StatusConflict, Message: "another upload with this Idempotency-Key has just finished; repeat the request to get its answer", Cause: err}
	}
	if err == nil || x.Context().Err() == nil {
		return f, err
	}
	a.log.Info("Upload ended by its client, or by the daemon's end", append(x.Attrs(), "error", err)...)
	return f, err
}

func (x *exchange) sendCreated(f raid.File) error {
	h := x.Header()
	h.Set("Location", "/files/"+strconv.FormatInt(int64(f.ID), 10))
	if f.SHA256 != ([32]byte{}) {
		h.Set("ETag", httpserver.ETag(f.SHA256))
	}
	return x.SendJSON(http.StatusCreated, created{ID: f.ID, Degraded: f.Degraded, Lab: f.Lab})
}
