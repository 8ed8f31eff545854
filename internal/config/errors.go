package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
)

// ErrUnread says that nothing that was read is wrong, but something could not be read. That may go
// over by itself, as a disk's error does. An [Error] is one then.
var ErrUnread = errors.New("configuration could not be read")

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Origin  Origin
	Key     string // dotted path, as in "http.listen"; empty when no key is meant
	Message string // what is wrong and what would be right
	Unread  bool   // the system did not let us read; nothing is known to be wrong
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

// Is implements errors.Is for [ErrUnread].
func (e *Error) Is(target error) bool {
	return target == ErrUnread && !slices.ContainsFunc(e.Problems, func(p Problem) bool { return !p.Unread })
}

// maxLines is the number of problems that are worth reading at once.
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

// unread records that something of the configuration could not be read.
func (r *report) unread(program string, err error) {
	var system *fs.PathError
	r.problems = append(r.problems, Problem{
		Message: fmt.Sprintf("%s: read configuration: %v", program, err),
		Unread:  errors.As(err, &system) && !errors.Is(err, syscall.ENOTDIR), // where a file is, no folder comes by itself
	})
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
