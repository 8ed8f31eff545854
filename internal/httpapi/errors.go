package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
)

// failure is an error with the answer that it becomes.
type failure struct {
	status  int
	message string      // for the client's person
	cause   error       // for the log, may be nil
	header  http.Header // goes with the answer, may be nil
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

func (f *failure) Unwrap() error { return f.cause }

// fail makes a failure with a status and a text.
func fail(status int, format string, args ...any) error {
	return &failure{status: status, message: fmt.Sprintf(format, args...)}
}

// badRequest is the client's mistake.
func badRequest(format string, args ...any) error {
	return fail(http.StatusBadRequest, format, args...)
}

// rawAnswer is an error as it is written to a connection that net/http does not
// answer on, or not in our words.
func rawAnswer(status int, message string) []byte {
	body, err := json.Marshal(struct {
		Message string `json:"message"`
	}{message})
	if err != nil { // a text can always be written
		body = []byte("{}")
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"+
		"Cache-Control: no-store\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}

// secretText is a token with its secret, whole or in part, of REST or for joining.
var secretText = regexp.MustCompile(`(raidpi_[A-Za-z0-9]{8}_|RAID1-[A-Za-z0-9]+-[A-Za-z0-9]+-)[A-Za-z0-9-]+`)

// clip bounds what a stranger can put into one line of the log, and takes the
// secrets of tokens away that somebody put where an id belongs.
func clip(s string) string {
	s = secretText.ReplaceAllString(s, "$1…")
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
