package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Origin  Origin
	Key     string // dotted path, as in "http.listen"; empty when no key is meant
	Message string // what is wrong and what would be right
}

// String is one line: where, which key, what.
func (p Problem) String() string {
	var b strings.Builder
	if where := p.Origin.position(); where != "" {
		b.WriteString(where + ": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error is a refused configuration: every problem that was found.
type Error struct{ Problems []Problem }

// maxLines is how many problems are worth reading at once.
const maxLines = 20

// Error is one line for each problem, the first ones of very many.
func (e *Error) Error() string {
	lines := make([]string, 0, maxLines+1)
	for _, p := range e.Problems[:min(len(e.Problems), maxLines)] {
		lines = append(lines, p.String())
	}
	if more := len(e.Problems) - maxLines; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// report gathers problems, knowing where each key's value came from.
type report struct {
	origins  Origins
	files    []string // in the order in which they were read
	problems []Problem
}

// bad records that the value of a key is refused.
func (r *report) bad(key, format string, args ...any) {
	r.at(r.origins[key], key, format, args...)
}

func (r *report) at(o Origin, key, format string, args ...any) {
	r.problems = append(r.problems, Problem{Origin: o, Key: key, Message: fmt.Sprintf(format, args...)})
}

// err is nil without problems. The files' come first, in their order.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Origin.rank(), b.Origin.rank()),
			cmp.Compare(slices.Index(r.files, a.Origin.File), slices.Index(r.files, b.Origin.File)),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column),
		)
	})
	return &Error{Problems: r.problems}
}
