package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/raid"
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
	if x.body == nil {
		x.body = newBody(x.r, x.ctl, a.cfg.Stall, a.cfg.MaxBody)
	}
	if err := x.body.checkLength(); err != nil {
		return err
	}
	form, most, err := a.formOf(x)
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
	if err := a.cfg.Files.CheckRoom(most); err != nil {
		return err
	}
	f, err := a.store(x, form, key)
	if err != nil {
		return err
	}
	a.log.Info("File uploaded", "file", int64(f.ID), "size", f.Size, "stripes", f.Stripes, "degraded", f.Degraded, "lab", f.Lab,
		"duration", time.Since(x.started).Round(time.Millisecond))
	return x.sendCreated(f)
}

// store runs the upload while it holds a place for it.
func (a *API) store(x *exchange, form form, key *raid.IdempotencyKey) (raid.File, error) {
	release, err := a.transfers.enter(x.r.Context(), callerOf(x))
	if err != nil {
		return raid.File{}, err
	}
	defer release()
	u, err := form(x)
	if err != nil {
		return raid.File{}, err
	}
	u.Idempotency = key
	f, err := a.cfg.Files.Upload(x.r.Context(), u)
	if errors.Is(err, raid.ErrPrecondition) { // the key was stored by somebody else meanwhile
		err = &failure{status: http.StatusConflict, message: "another upload with this Idempotency-Key has just finished; repeat the request to get its answer", cause: err}
	}
	if err == nil || x.r.Context().Err() == nil {
		return f, err
	}
	a.log.Info("Upload ended by its client, or by the daemon's end", append(x.attrs(), "error", err)...)
	return f, err
}

func (x *exchange) sendCreated(f raid.File) error {
	h := x.Header()
	h.Set("Location", "/files/"+strconv.FormatInt(int64(f.ID), 10))
	if f.SHA256 != ([32]byte{}) {
		h.Set("ETag", etagOf(f.SHA256))
	}
	return x.sendJSON(http.StatusCreated, created{ID: f.ID, Degraded: f.Degraded, Lab: f.Lab})
}

// form begins to read one of the ways in which a file is sent.
type form func(*exchange) (object.Upload, error)

// formOf finds out which way it is, from header and query alone, and how many bytes
// the file has at most, as far as the body's length says so, else -1.
func (a *API) formOf(x *exchange) (f form, most int64, err error) {
	if ce := x.r.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return nil, 0, fail(http.StatusUnsupportedMediaType, "files are stored as they are sent: leave Content-Encoding %q away", clip(ce))
	}
	q, err := parseQuery(x.r)
	if err != nil {
		return nil, 0, err
	}
	name, named, err := single(q, "filename")
	if err != nil {
		return nil, 0, err
	}
	if named {
		if err := checkFilename(name); err != nil {
			return nil, 0, err
		}
	}
	sent := x.r.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(sent)
	switch {
	case media == "multipart/form-data" && err == nil && params["boundary"] != "":
		return func(x *exchange) (object.Upload, error) { return sentAsForm(x, params["boundary"], name) }, x.body.length, nil
	case media == "multipart/form-data":
		return nil, 0, badRequest("Content-Type multipart/form-data has no usable boundary")
	case named:
		f, err = a.rawForm(x, name, sent)
		return f, x.body.length, err
	case media == "application/json":
		return sentAsJSON, decodedLength(x.body.length), nil
	}
	return nil, 0, badRequest("send a file as JSON (Content-Type application/json, with filename, content_type and contents_b64), " +
		"as multipart/form-data, or as it is with POST /files?filename=NAME")
}

// rawForm is a body that is the file.
func (a *API) rawForm(x *exchange, name, contentType string) (form, error) {
	ct, err := checkContentType(contentType)
	if err != nil {
		return nil, err
	}
	sum, err := sha256Of(x.r.Header)
	if err != nil {
		return nil, err
	}
	if size := x.body.length; a.cfg.MaxFile > 0 && size > a.cfg.MaxFile {
		return nil, fail(http.StatusRequestEntityTooLarge, "the file has %d bytes; at most %d are possible here (max_whole_file)", size, a.cfg.MaxFile)
	}
	return func(x *exchange) (object.Upload, error) {
		return object.Upload{Size: x.body.length, Bound: x.body.length, Body: x.body, SHA256: sum, Describe: func() (object.Description, error) {
			late, err := sha256Of(x.r.Trailer)
			return object.Description{Filename: name, ContentType: ct, SHA256: late}, err
		}}, nil
	}, nil
}

// sentAsJSON is the assignment's upload.
func sentAsJSON(x *exchange) (u object.Upload, err error) {
	j := newJSONUpload(x.body, x.body.length)
	if u.Body, err = checkedFile(x, j); err != nil {
		return u, err
	}
	if err = j.start(); err != nil {
		return u, err
	}
	u.Describe, u.Size, u.Bound = j.Describe, -1, decodedLength(x.body.length)
	return u, nil
}

// decodedLength is the most that base64 in a body of a length can become.
func decodedLength(body int64) int64 {
	if body < 0 {
		return -1
	}
	return body / 4 * 3
}

// sentAsForm is a browser's upload, or curl -F's.
func sentAsForm(x *exchange, boundary, name string) (u object.Upload, err error) {
	late := &lateFile{}
	if u.Body, err = checkedFile(x, late); err != nil {
		return u, err
	}
	f, err := newFormUpload(x.body, boundary, name)
	if err != nil {
		return u, err
	}
	late.Reader = f
	u.Describe, u.Size, u.Bound = f.Describe, -1, x.body.length
	return u, nil
}

// lateFile stands for a reader that can be made only after hashing has begun.
type lateFile struct{ io.Reader }

// parseQuery is strict: a query that can't be read is the client's mistake.
func parseQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &failure{status: http.StatusBadRequest, message: fmt.Sprintf("the query can't be read (%v); percent-encode what is special in URLs", err), cause: err}
	}
	return q, nil
}

// single is the value of a parameter that may come once.
func single(q url.Values, name string) (value string, given bool, err error) {
	switch v := q[name]; len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	default:
		return "", true, badRequest("the parameter %q comes %d times in the query", name, len(v))
	}
}
