// Package insider finds programmers' words in what people read, for tests.
package insider

import "regexp"

// words match the names of packages, functions, calls and protocols that errors of libraries are
// full of. They also match what is left when a format went wrong.
var words = regexp.MustCompile(`(?i)strconv|\bparse(int|uint|float|bool)?\b|\b(GET|POST|PUT|DELETE|PATCH|HEAD) /` +
	`|context (canceled|deadline)|deadline exceeded|\bEOF\b|\b(dial|read|write|listen) (tcp|udp|unix)|lookup |i/o timeout` +
	`|\btls: |x509|\bjson: |toml: |sql: |\(\d+\)$|unmarshal|invalid character|syntax|goroutine|panic|<nil>|\bnil\b` +
	`|net/http|http: |syscall|errno|arg\(s\)|\\t|\\n|%!|malformed|Content-Range|status \d{3}|\b[45]\d\d [A-Z]` +
	`|flag provided|value out of range|broken pipe|file descriptor|unexpected|0x[0-9a-f]{4}|\bl?stat /|bind: |connect: `)

// Find returns the first such word in a text, or "".
func Find(text string) string { return words.FindString(text) }
