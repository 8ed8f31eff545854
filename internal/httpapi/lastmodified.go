package httpapi

import (
	"net/http"
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

// modifiedSince tells whether If-Unmodified-Since stands against an action on a
// file. A date that can't be read means nothing (RFC 9110 section 13.1.4).
func modifiedSince(values []string, f *raid.File) bool {
	if len(values) != 1 {
		return false
	}
	limit, err := http.ParseTime(values[0])
	modified := lastModified(f)
	return err == nil && !modified.IsZero() && modified.After(limit)
}
