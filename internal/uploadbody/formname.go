package uploadbody

import (
	"net/url"
	"strings"
)

// formFilename reads the filename out of the Content-Disposition of a form's part. named is false
// when it has none, and ok when the header can't be read.
//
// HTML writes what no program escapes but browsers, curl and Python's requests in one way: between
// quotes, with %22, %0D and %0A for a quote and line breaks, and every other character as it is,
// backslashes too (the HTML standard, "multipart/form-data encoding algorithm"; RFC 7578 section
// 4.2). So a name ends at the first quote that a semicolon or the end follows. curl before 7.81
// wrote \" for a quote and \\ for a backslash. A quote that neither follows was written so, and
// then, and only then, backslashes are escapes.
//
// filename* (RFC 8187) must not be in forms (RFC 7578 section 4.2). .NET and old versions of
// Python's requests send it nevertheless, beside a filename that is garbled, or alone; it wins.
func formFilename(header string) (name string, named, ok bool) {
	kind, rest, _ := strings.Cut(header, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return "", false, strings.TrimSpace(kind) != ""
	}
	seen := map[string]string{}
	for rest = strings.TrimLeft(rest, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		if rest[0] == ';' {
			rest = rest[1:]
			continue
		}
		key, after, found := strings.Cut(rest, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if _, twice := seen[key]; !found || twice || key == "" || strings.ContainsAny(key, " \t;\"") {
			return "", false, false
		}
		if seen[key], rest, ok = formValue(strings.TrimLeft(after, " \t")); !ok {
			return "", false, false
		}
	}
	if extended, there := seen["filename*"]; there {
		name, ok = extendedValue(extended)
		return name, ok, ok
	}
	name, named = seen["filename"]
	return name, named, true
}

// formValue takes a parameter's value, in quotes or not.
func formValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return strings.TrimSpace(value), rest, true
	}
	s = s[1:]
	escapes := false
	for i := 0; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		rest = strings.TrimLeft(s[i+1:], " \t")
		switch {
		case rest == "" || rest[0] == ';':
			if escapes {
				return unescapeOldCurl.Replace(s[:i]), rest, true
			}
			return unescapeName.Replace(s[:i]), rest, true
		case i == 0 || s[i-1] != '\\':
			return "", "", false
		}
		escapes = true
	}
	return "", "", false
}

var (
	unescapeName    = strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n", "%0d", "\r", "%0a", "\n")
	unescapeOldCurl = strings.NewReplacer(`\\`, `\`, `\"`, `"`)
)

// extendedValue decodes what stands behind filename*= (RFC 8187), of the one
// character set that it still allows.
func extendedValue(s string) (string, bool) {
	charset, rest, _ := strings.Cut(s, "'")
	_, value, found := strings.Cut(rest, "'")
	if !found || !strings.EqualFold(charset, "utf-8") {
		return "", false
	}
	name, err := url.PathUnescape(value)
	return name, err == nil
}
