package httpserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
)

// Error is an error with the answer that it becomes.
type Error struct {
	Status  int
	Message string      // for the client's person
	Cause   error       // for the log, may be nil
	Header  http.Header // goes with the answer, may be nil
}

func (f *Error) Error() string {
	if f.Cause != nil {
		return f.Message + ": " + f.Cause.Error()
	}
	return f.Message
}

func (f *Error) Unwrap() error { return f.Cause }

// Errorf makes a failure with a status and a text.
func Errorf(status int, format string, args ...any) error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// BadRequest is the client's mistake.
func BadRequest(format string, args ...any) error {
	return Errorf(http.StatusBadRequest, format, args...)
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

// Clip bounds what a stranger can put into one line of the log, and takes the
// secrets of tokens away that somebody put where an id belongs.
func Clip(s string) string {
	s = secretText.ReplaceAllString(s, "$1…")
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
