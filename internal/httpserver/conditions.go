package httpserver

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// CheckConditions evaluates If-Match, If-None-Match and If-Unmodified-Since (RFC
// 9110 section 13) of a request that changes a file. find is asked for the file's
// SHA-256 and its Last-Modified when there is a condition. ServeContent does it for GET.
func (x *Exchange) CheckConditions(find func() (sum [32]byte, modified time.Time, err error)) error {
	match, none := x.Request.Header["If-Match"], x.Request.Header["If-None-Match"]
	since := x.Request.Header["If-Unmodified-Since"]
	if match == nil && none == nil && since == nil {
		return nil
	}
	sum, modified, err := find()
	if err != nil {
		return err
	}
	etag := ETag(sum)
	if match != nil && !listsETag(match, etag, false) || match == nil && modifiedSince(since, modified) || none != nil && listsETag(none, etag, true) {
		return refusal(http.StatusPreconditionFailed, "", 0)
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

// modifiedSince tells whether If-Unmodified-Since stands against an action on a
// file. A date that can't be read means nothing (RFC 9110 section 13.1.4).
func modifiedSince(values []string, modified time.Time) bool {
	if len(values) != 1 {
		return false
	}
	limit, err := http.ParseTime(values[0])
	return err == nil && !modified.IsZero() && modified.After(limit)
}
