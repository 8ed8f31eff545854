package httpserver

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Params are the parameters of a request's query.
type Params url.Values

// ParseParams is strict: a query that can't be read is the client's mistake.
func ParseParams(r *http.Request) (Params, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the query can't be read (%v); percent-encode what is special in URLs", err), Cause: err}
	}
	return Params(q), nil
}

// Has tells whether a parameter is there.
func (p Params) Has(name string) bool { return url.Values(p).Has(name) }

// Text is the value of a parameter that may come once.
func (p Params) Text(name string) (value string, given bool, err error) {
	switch v := p[name]; len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	default:
		return "", true, BadRequest("the parameter %q comes %d times in the query", name, len(v))
	}
}

// Number reads a parameter that is a whole number; 0 when it is not there.
func (p Params) Number(name string, least, most int64) (int64, error) {
	s, given, err := p.Text(name)
	if err != nil || !given {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, BadRequest("the parameter %q is %q; it must be a whole number from %d to %d", name, Clip(s), least, most)
	}
	return n, nil
}
