package config

import (
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (r *report) between(key string, v, low, high int64) {
	if v < low || v > high {
		r.bad(key, "%d is out of range: %d to %d", v, low, high)
	}
}

func (r *report) within(key string, v, low, high Duration) {
	if v < low || v > high {
		r.bad(key, "%s is out of range: %s to %s", v, low, high)
	}
}

// path takes absolute paths: a relative one would mean another folder for a
// daemon than for the person who wrote it.
func (r *report) path(key, p string) {
	switch {
	case p == "":
		r.bad(key, "is empty: write the folder's path, beginning with /")
	case !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		r.bad(key, "%q holds control characters or is no valid UTF-8", p)
	case !filepath.IsAbs(p):
		r.bad(key, "%q is a relative path: write the whole path, beginning with /", p)
	}
}

type listener struct {
	key  string
	addr Address
}

func (r *report) distinctListeners(all ...listener) {
	for i, l := range all {
		for _, other := range all[:i] {
			if l.addr.overlaps(other.addr) {
				r.bad(l.key, "%q is taken by %s (%q): each listener needs an address of its own", l.addr, other.key, other.addr)
				break
			}
		}
	}
}
