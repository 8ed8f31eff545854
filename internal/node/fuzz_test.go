package node

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What a controller says ends up on a terminal and in a log.
func FuzzRefusal(f *testing.F) {
	f.Add(401, `{"message":"This token expired"}`)
	f.Add(403, `{"message":"\u001b[2J\u202e"}`)
	f.Add(500, `{"message":`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		var failure *Failure
		err := refusal("127.0.0.1:9000", &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))})
		if failure = failureOf(err); failure.Exit == 0 || failure.Message == "" {
			t.Fatalf("no words or no status: %+v", failure)
		}
		if utf8.RuneCountInString(failure.Message) > maxMessage+200 {
			t.Errorf("%d characters", utf8.RuneCountInString(failure.Message))
		}
		if i := strings.IndexFunc(failure.Message, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q has what can't be shown at %d", failure.Message, i)
		}
	})
}
