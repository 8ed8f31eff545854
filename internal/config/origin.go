package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Origin says where a value came from. The zero Origin is the default.
type Origin struct {
	File     string // path of the file, with Line and Column from 1
	Line     int
	Column   int    // in bytes
	Variable string // name of the environment variable
}

// Origins are the origins of all keys by dotted path; a missing one is the
// default.
type Origins map[string]Origin

// String tells a person: "default", "from FILE:LINE" or "environment NAME".
func (o Origin) String() string {
	switch {
	case o.Variable != "":
		return "environment " + o.Variable
	case o.File != "":
		return fmt.Sprintf("from %s:%d", printable(o.File), o.Line)
	}
	return "default"
}

// position begins an error message, as compilers write it, which editors
// understand.
func (o Origin) position() string {
	switch {
	case o.Variable != "":
		return "environment " + o.Variable
	case o.File != "" && o.Line > 0:
		return fmt.Sprintf("%s:%d:%d", printable(o.File), o.Line, o.Column)
	}
	return printable(o.File)
}

// rank orders problems: the file's, the environment's, those of defaults.
func (o Origin) rank() int {
	switch {
	case o.Variable != "":
		return 1
	case o.File != "":
		return 0
	}
	return 2
}

// printable keeps a name from breaking the line that it is written on, or from
// filling many.
func printable(s string) string {
	if len(s) > 4096 { // the longest path of Linux
		s = s[:4096] + "..."
	}
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
