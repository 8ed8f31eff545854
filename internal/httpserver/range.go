package httpserver

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxRanges bounds the ranges that one request may name. More small ones would make
// the nodes read 64 KiB for each byte asked for.
const maxRanges = 64

// refusedRange is a Range that ServeContent refuses, when no condition of the
// request comes before it.
const refusedRange = "bytes"

// tidyRange writes Range anew, for a file of the given size, so that ServeContent
// does with it what RFC 9110 section 14 says: the unit's name has no case, an
// unknown unit is ignored, and so is the whole header unless the method is GET.
// Conditions may come in several lines. An If-Range that is not the file's ETag has
// Range ignored: a date is no strong validator here, since no clock is believed.
func tidyRange(r *http.Request, size int64, etag string) {
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if v := r.Header[name]; len(v) > 1 {
			r.Header[name] = []string{strings.Join(v, ", ")}
		}
	}
	values := r.Header["Range"]
	if values == nil {
		return
	}
	if on := r.Header["If-Range"]; len(on) > 1 || len(on) == 1 && strings.TrimSpace(on[0]) != etag {
		delete(r.Header, "Range")
		return
	}
	unit, set, ok := strings.Cut(values[0], "=")
	unit = strings.TrimSpace(unit)
	if r.Method != http.MethodGet || ok && unit != "" && !strings.EqualFold(unit, "bytes") {
		delete(r.Header, "Range")
		return
	}
	tidy := refusedRange
	if ok && unit != "" && len(values) == 1 && strings.Count(set, ",") < maxRanges {
		fitting, err := fitRanges(set, size)
		switch {
		case err != nil:
		case size == 0: // has no byte to be a part of: all of it is sent, as for 0-
			delete(r.Header, "Range")
			return
		case len(fitting) > 0:
			tidy = "bytes=" + strings.Join(fitting, ",")
		}
	}
	r.Header["Range"] = []string{tidy}
}

// fitRanges cuts ranges to a file of the given size. Positions may have any number
// of digits (RFC 9110 section 14.1.2). Ranges that lie outside are left away; an
// error means that the set is not of the form that the RFC gives it.
func fitRanges(set string, size int64) (fitting []string, err error) {
	some := false
	for one := range strings.SplitSeq(set, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		some = true
		first, last, ok := strings.Cut(one, "-")
		if first, last = strings.TrimSpace(first), strings.TrimSpace(last); !ok || first == "" && last == "" || !onlyDigits(first+last) {
			return nil, fmt.Errorf("%q is no range", one)
		}
		from, to := position(first), position(last)
		switch {
		case first == "":
			from, to = size-min(to, size), size-1
		case last == "":
			to = size - 1
		case to < from:
			return nil, fmt.Errorf("%q ends before it begins", one)
		}
		if to = min(to, size-1); from <= to {
			fitting = append(fitting, strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(to, 10))
		}
	}
	if !some {
		return nil, fmt.Errorf("%q has no range", set)
	}
	return fitting, nil
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// position reads digits; what is beyond any file is the greatest number.
func position(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil && digits != "" {
		return math.MaxInt64
	}
	return n
}
