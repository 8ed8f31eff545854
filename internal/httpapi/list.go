package httpapi

import (
	"bufio"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/raid"
)

// listBuffer is how much of a listing is written at once, in bytes. An error in
// the first buffer still has a status of its own.
const listBuffer = 32 << 10

// list serves GET /files as a stream: its memory does not depend on how many
// files there are.
func (a *API) list(x *exchange) error {
	q, err := listQuery(x.r)
	if err != nil {
		return err
	}
	h := x.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	if x.r.Method == http.MethodHead {
		return nil
	}
	release, err := a.listings.enter(x.r.Context(), callerOf(x))
	if err != nil {
		return err
	}
	defer release()
	w := bufio.NewWriterSize(x, listBuffer)
	rec := a.newRecorder(w)
	w.WriteString(`{"files": [`)
	separator := "\n"
	for f, err := range a.cfg.Index.Files(x.r.Context(), q) {
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
func listQuery(r *http.Request) (q Query, err error) {
	values, err := parseQuery(r)
	if err != nil {
		return q, err
	}
	limit, err := number(values, "limit", 1, math.MaxInt32)
	if err != nil {
		return q, err
	}
	after, err := number(values, "after", 0, math.MaxInt64)
	if err != nil {
		return q, err
	}
	lost, err := number(values, "lost", 0, 1)
	if err != nil {
		return q, err
	}
	name, _, err := single(values, "q")
	if err != nil {
		return q, err
	}
	if !utf8.ValidString(name) || len(name) > 4*maxFilename {
		return q, badRequest("the parameter \"q\" must be UTF-8 of at most %d characters", maxFilename)
	}
	return Query{After: raid.FileID(after), Limit: int(limit), Filename: name, Lost: lost == 1}, nil
}

// number reads a parameter that is a whole number; 0 when it is not there.
func number(q url.Values, name string, least, most int64) (int64, error) {
	s, given, err := single(q, name)
	if err != nil || !given {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("the parameter %q is %q; it must be a whole number from %d to %d", name, clip(s), least, most)
	}
	return n, nil
}

// info serves GET /files/{id}/info.
func (a *API) info(x *exchange) error {
	id, err := parseID(x.id)
	if err != nil {
		return err
	}
	f, err := a.cfg.Index.File(x.r.Context(), id)
	if err != nil {
		return err
	}
	h := x.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	if x.r.Method == http.MethodHead {
		return nil
	}
	verified := ""
	if a.cfg.Scrubs != nil {
		if verified, err = a.cfg.Scrubs.Verified(x.r.Context(), f); err != nil {
			return err
		}
	}
	namesOf, buffer := given(&f), 4<<10
	if f.Stripes > 1 || len(f.PartNames) == 0 { // as many as the file is long
		release, err := a.listings.enter(x.r.Context(), callerOf(x))
		if err != nil {
			return err
		}
		defer release()
		namesOf, buffer = func(part int) names { return a.cfg.Index.Names(x.r.Context(), f, part) }, listBuffer
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
	values, err := parseQuery(x.r)
	if err != nil {
		return err
	}
	purge, err := number(values, "purge", 0, 1)
	if err != nil {
		return err
	}
	find, remove := a.cfg.Index.File, a.cfg.Files.Delete
	if purge == 1 {
		find, remove = a.anywhere, a.cfg.Trash.Purge
	}
	if err := a.checkConditions(x, id, find); err != nil {
		return err
	}
	if err := remove(x.r.Context(), id); err != nil {
		return err
	}
	a.log.Info("File deleted", "file", int64(id), "for_good", purge == 1, "duration", time.Since(x.started).Round(time.Millisecond))
	return x.sendNothing()
}
