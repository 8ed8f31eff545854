package events

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds the text and the advice of an event, in bytes each.
const maxText = 600

// line makes a text that can stand on a line of a terminal, of a mail or of a log. Whatever moves a
// cursor or turns the direction of writing is escaped as Go does it.
func line(s string) string {
	strange := func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
	if len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, strange) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+n]
		switch {
		case r == utf8.RuneError && n == 1:
			piece = fmt.Sprintf(`\x%02x`, s[i])
		case strange(r):
			piece = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(piece) > maxText-len("…") {
			return b.String() + "…"
		}
		b.WriteString(piece)
		i += n
	}
	return b.String()
}
