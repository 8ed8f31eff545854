package httpapi

import (
	"bufio"
	"math"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/uploadbody"
)

// listBuffer is the size of what is written at once of a listing, in bytes. An error in
// the first buffer still has a status of its own.
const listBuffer = 32 << 10

// list serves GET /files as a stream: its memory does not depend on how many
// files there are.
func (a *API) list(x *exchange) error {
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
	rec := a.newRecorder(w)
	w.WriteString(`{"files": [`)
	separator := "\n"
	for f, err := range a.cfg.Index.Files(x.Context(), q) {
		if err != nil {
			return err
		}
		w.WriteString(separator)
		separator = ",\n"
		if f.Stripes > 1 {
			f.PartNames = nil
		}
		if err := rec.write(&f, given(&f)); err != nil {
			return err
		}
	}
	w.WriteString("\n]}\n")
	return w.Flush()
}

// listQuery reads limit, after, q and lost.
func listQuery(r *http.Request) (q raid.FileQuery, err error) {
	values, err := httpserver.ParseParams(r)
	if err != nil {
		return q, err
	}
	limit, err := values.Number("limit", 1, math.MaxInt32)
	if err != nil {
		return q, err
	}
	after, err := values.Number("after", 0, math.MaxInt64)
	if err != nil {
		return q, err
	}
	lost, err := values.Number("lost", 0, 1)
	if err != nil {
		return q, err
	}
	name, _, err := values.Text("q")
	if err != nil {
		return q, err
	}
	if !utf8.ValidString(name) || len(name) > 4*uploadbody.MaxFilename {
		return q, httpserver.BadRequest("the parameter \"q\" must be UTF-8 of at most %d characters", uploadbody.MaxFilename)
	}
	return raid.FileQuery{After: raid.FileID(after), Limit: int(limit), Filename: name, Lost: lost == 1}, nil
}

// info serves GET /files/{id}/info.
func (a *API) info(x *exchange) error {
	id, err := parseID(x.id)
	if err != nil {
		return err
	}
	f, err := a.cfg.Index.File(x.Context(), id)
	if err != nil {
		return err
	}
	x.BeginJSON()
	if x.Request.Method == http.MethodHead {
		return nil
	}
	verified := ""
	if a.cfg.Scrubs != nil {
		if verified, err = a.cfg.Scrubs.Verified(x.Context(), f); err != nil {
			return err
		}
	}
	namesOf, buffer := given(&f), 4<<10
	if f.Stripes > 1 || len(f.PartNames) == 0 { // as many as the file is long
		release, err := a.listings.Enter(x.Context(), httpserver.CallerOf(x.Request, x.token))
		if err != nil {
			return err
		}
		defer release()
		namesOf, buffer = func(part int) names { return a.cfg.Index.Names(x.Context(), f, part) }, listBuffer
	}
	w := bufio.NewWriterSize(x, buffer)
	r := a.newRecorder(w)
	r.verified = verified
	if err := r.write(&f, namesOf); err != nil {
		return err
	}
	w.WriteByte('\n')
	return w.Flush()
}

// remove serves DELETE /files/{id}.
func (a *API) remove(x *exchange) error {
	id, err := parseID(x.id)
	if err != nil {
		return err
	}
	values, err := httpserver.ParseParams(x.Request)
	if err != nil {
		return err
	}
	purge, err := values.Number("purge", 0, 1)
	if err != nil {
		return err
	}
	find, remove := a.cfg.Index.File, a.cfg.Files.Delete
	if purge == 1 {
		find, remove = a.anywhere, a.cfg.Trash.Purge
	}
	if err := checkConditions(x, id, find); err != nil {
		return err
	}
	if err := remove(x.Context(), id); err != nil {
		return err
	}
	a.log.Info("File deleted", "file", int64(id), "for_good", purge == 1, "duration", time.Since(x.Started).Round(time.Millisecond))
	return x.SendNothing()
}
