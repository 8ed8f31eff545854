package httpserver

import "strings"

// handling says what a browser may do with a file, by its content type.
type handling int

const (
	attached  handling = iota // save it, never show it
	sandboxed                 // show it where no script runs and nothing has an origin
	passive                   // show it: it can't run script
	plugged                   // show it in the browser's own viewer, which no policy of ours may hinder
)

// handlingOf chooses it. What is no single valid media type is attached.
// A browser that finds several in one header takes the last (the Fetch standard, "extract a
// MIME type"), and so another than any check here has seen. So is multipart, whose
// parts have headers of their own that a browser may believe.
func handlingOf(contentType string) handling {
	kind, subtype, ok := splitMediaType(contentType)
	switch {
	case !ok || kind == "multipart" || kind == "message":
		return attached
	case strings.Contains(subtype, "xml") || strings.Contains(subtype, "html") || strings.Contains(subtype, "script"):
		return sandboxed
	case kind == "application" && subtype == "pdf":
		return plugged
	case kind == "video" || kind == "audio" || kind == "image" || kind == "text" && subtype == "plain":
		return passive
	}
	return sandboxed
}

// splitMediaType reads one media type (RFC 9110 section 8.3.1) and returns its two
// names in lower case. It is stricter than the RFC: only ASCII, and no parameter
// twice, since readers differ in which of two they believe.
func splitMediaType(s string) (kind, subtype string, ok bool) {
	kind, rest := cutToken(s)
	if kind == "" || !strings.HasPrefix(rest, "/") {
		return "", "", false
	}
	subtype, rest = cutToken(rest[1:])
	if subtype == "" {
		return "", "", false
	}
	seen := map[string]bool{}
	for rest != "" {
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, ";") {
			return "", "", false
		}
		var name string
		name, rest, ok = cutParameter(strings.TrimLeft(rest[1:], " \t"))
		if !ok || name != "" && seen[name] {
			return "", "", false
		}
		seen[name] = true
	}
	return strings.ToLower(kind), strings.ToLower(subtype), true
}

// cutParameter takes a parameter, or none where there is none, which the grammar
// allows between semicolons.
func cutParameter(s string) (name, rest string, ok bool) {
	name, rest = cutToken(s)
	if name == "" {
		return "", rest, true
	}
	if rest, ok = strings.CutPrefix(rest, "="); !ok {
		return "", "", false
	}
	if strings.HasPrefix(rest, `"`) {
		rest, ok = cutQuoted(rest)
		return strings.ToLower(name), rest, ok
	}
	value, rest := cutToken(rest)
	return strings.ToLower(name), rest, value != ""
}

// cutToken takes a token (RFC 9110 section 5.6.2), which may be empty.
func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func isTokenChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// cutQuoted takes a quoted string of ASCII (RFC 9110 section 5.6.4).
func cutQuoted(s string) (rest string, ok bool) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[i+1:], true
		case c == '\\':
			if i++; i == len(s) || !isQuotable(s[i]) {
				return "", false
			}
		case !isQuotable(c):
			return "", false
		}
	}
	return "", false
}

func isQuotable(c byte) bool { return c == '\t' || c >= ' ' && c < 0x7f }
