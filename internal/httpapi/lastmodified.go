package httpapi

import (
	"context"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// lastModified is when a file was stored, for Last-Modified and the conditions that
// name it; the zero time when nothing should be said. A clock that was wrong does no
// harm: a file never changes under its id, so a copy of any age is still the file.
// What lies in the future by this machine's clock is not sent (RFC 9110 section 8.8.2.1).
func lastModified(f *raid.File) time.Time {
	t, err := time.Parse(time.DateTime, f.Created)
	if err != nil || t.After(time.Now()) {
		return time.Time{}
	}
	return t
}

// checkConditions evaluates a request's conditions before a file is deleted or put back.
// A file never changes under its id, so nothing can come between this and that.
func checkConditions(x *exchange, id raid.FileID, find func(context.Context, raid.FileID) (raid.File, error)) error {
	return x.CheckConditions(func() ([32]byte, time.Time, error) {
		f, err := find(x.Context(), id)
		return f.SHA256, lastModified(&f), err
	})
}
