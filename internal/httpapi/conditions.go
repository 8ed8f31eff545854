package httpapi

import (
	"context"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// checkConditions evaluates If-Match, If-None-Match and If-Unmodified-Since (RFC
// 9110 section 13) before a file is deleted or put back; ServeContent does it for GET. A
// file never changes under its id, so nothing can come between this and that.
func (a *API) checkConditions(x *exchange, id raid.FileID, find func(context.Context, raid.FileID) (raid.File, error)) error {
	match, none := x.r.Header["If-Match"], x.r.Header["If-None-Match"]
	since := x.r.Header["If-Unmodified-Since"]
	if match == nil && none == nil && since == nil {
		return nil
	}
	f, err := find(x.r.Context(), id)
	if err != nil {
		return err
	}
	etag := etagOf(f.SHA256)
	if match != nil && !listsETag(match, etag, false) || match == nil && modifiedSince(since, &f) || none != nil && listsETag(none, etag, true) {
		return refusal(http.StatusPreconditionFailed, "", f.Size)
	}
	return nil
}

// listsETag tells whether a list of entity tags holds etag, or is *. Tags of ours
// have no commas; those that do can't match anyway.
func listsETag(values []string, etag string, weak bool) bool {
	for _, v := range values {
		for _, tag := range strings.Split(v, ",") {
			tag = textproto.TrimString(tag)
			if weak {
				tag = strings.TrimPrefix(tag, "W/")
			}
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}
