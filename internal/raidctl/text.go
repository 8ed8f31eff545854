package raidctl

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// printable shows a text that others chose on one line of a terminal. Whatever could move the
// cursor, change colours or turn the direction of writing is escaped as Go does it. Letters of all
// scripts stay.
func printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) && r != ' ' }

// printableLine is printable for texts of several lines.
func printableLine(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// humanSize writes a number of bytes with three digits or so.
func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n)/1024, 0
	for v >= 1023.95 && unit < 5 { // what rounds to 1024.0 is 1.0 of the next
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// humanDuration writes a length of time in its two largest units.
func humanDuration(d time.Duration) string {
	units := []struct {
		name string
		long time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.long {
			continue
		}
		s := fmt.Sprintf("%d %s", d/u.long, u.name)
		if rest := d % u.long; i+1 < len(units) && rest >= units[i+1].long {
			s += fmt.Sprintf(" %d %s", rest/units[i+1].long, units[i+1].name)
		}
		return s
	}
	return "0 s"
}

// plural writes a number with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}

// orDash stands in where a table's cell would be empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

// writeJSON writes one object and a newline.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// jsonLines writes an object a line.
func jsonLines[T any](w io.Writer, all []T) error {
	for _, v := range all {
		if err := writeJSON(w, v); err != nil {
			return err
		}
	}
	return nil
}
