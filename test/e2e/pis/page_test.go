//go:build nspawn

package pis

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// page is one that people paste from, and compare what they see with.
type page struct {
	scenes map[string]string // lines to paste
	seen   map[string]sight
	used   []string // scenes and sights
}

// sight holds what a command shows.
type sight struct {
	command string
	lines   []*regexp.Regexp // that it shows, in this order
}

var (
	sceneBlock = regexp.MustCompile("(?s)<!-- scene: ([\\w-]+) -->\n```sh\n(.*?)```")
	seenBlock  = regexp.MustCompile("(?s)<!-- seen: ([\\w-]+) -->\n```\n\\$ ([^\n]*)\n(.*?)```")
	example    = regexp.MustCompile(`pi-\d+|…|\d+(\.\d+)*|\s+`)
)

// readPage reads what is marked on a page to be pasted, and to be seen.
func readPage(path string) (*page, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &page{scenes: map[string]string{}, seen: map[string]sight{}}
	for _, m := range sceneBlock.FindAllStringSubmatch(string(text), -1) {
		p.scenes[m[1]] = m[2]
	}
	for _, m := range seenBlock.FindAllStringSubmatch(string(text), -1) {
		s := sight{command: m[2]}
		for line := range strings.Lines(m[3]) {
			s.lines = append(s.lines, pattern(strings.TrimSpace(line)))
		}
		p.seen[m[1]] = s
	}
	if marks := strings.Count(string(text), "<!-- "); marks != len(p.scenes)+len(p.seen) {
		return nil, fmt.Errorf("%s has %d marks, and %d scenes and %d sights of distinct names", path, marks, len(p.scenes), len(p.seen))
	}
	return p, nil
}

// pattern matches a line that is shown like an example. … is anything, a number is any that is not
// a Pi's, and so is the width of a space.
func pattern(line string) *regexp.Regexp {
	expr, at := "", 0
	for _, m := range example.FindAllStringIndex(line, -1) {
		expr += regexp.QuoteMeta(line[at:m[0]])
		switch first := line[m[0]]; {
		case first == ' ' || first == '\t':
			expr += `\s+`
		case first == 'p':
			expr += line[m[0]:m[1]]
		case '0' <= first && first <= '9':
			expr += `\d+(\.\d+)*`
		default:
			expr += `.*`
		}
		at = m[1]
	}
	return regexp.MustCompile(`^\s*` + expr + regexp.QuoteMeta(line[at:]) + `\s*$`)
}

// in looks for the lines in what a command printed, and reports whether all are there.
func (s sight) in(printed string) (found []string, all bool) {
	for line := range strings.Lines(printed) {
		line = strings.TrimRight(line, "\n")
		if n := len(found); n < len(s.lines) && s.lines[n].MatchString(line) {
			found = append(found, line)
		}
	}
	return found, len(found) == len(s.lines)
}

// unused are the marks that nothing was done about.
func (p *page) unused() (names []string) {
	for name := range p.scenes {
		names = append(names, name)
	}
	for name := range p.seen {
		names = append(names, name)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(p.used, name) })
	slices.Sort(names)
	return names
}
