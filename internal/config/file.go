package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parsed is a TOML document: its values, and where each stands.
type parsed struct {
	values map[string]any
	spots  map[string]spot // by dotted path, tables too
}

// spot tells where a path is first named and where its value begins. Positions in
// a file count from 1; a zero line is unknown.
type spot struct{ key, value position }

type position struct{ line, column int }

// parse reads a whole document. Values come from the decoder, which also
// refuses what TOML forbids (a key given twice, say). The parser below it knows
// the positions.
func parse(doc []byte) (parsed, error) {
	p := parsed{values: map[string]any{}, spots: map[string]spot{}}
	if err := toml.Unmarshal(doc, &p.values); err != nil {
		return p, err
	}
	l := locator{lines: []int{0}, spots: p.spots}
	for i, c := range doc {
		if c == '\n' {
			l.lines = append(l.lines, i+1)
		}
	}
	l.parser.Reset(doc)
	for l.parser.NextExpression() {
		l.expression(l.parser.Expression())
	}
	return p, l.parser.Error()
}

// locator finds the positions of keys and values.
type locator struct {
	parser unstable.Parser
	lines  []int // offsets of their first bytes
	spots  map[string]spot
	table  string // current, with a dot at its end
}

// maxDepth is the number of steps of a path that are noted. Keys have two; the rest of a longer
// path would only take memory.
const maxDepth = 3

func (l *locator) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		l.table = l.name("", n.Key(), nil) + "."
	case unstable.KeyValue:
		l.keyValue(l.table, n)
	}
}

func (l *locator) keyValue(table string, n *unstable.Node) {
	path := l.name(table, n.Key(), n.Value())
	if n.Value().Kind != unstable.InlineTable {
		return
	}
	for it := n.Value().Children(); it.Next(); {
		if it.Node().Kind == unstable.KeyValue {
			l.keyValue(path+".", it.Node())
		}
	}
}

// name notes each step of a dotted key and returns the whole path. Only the
// last step has the value.
func (l *locator) name(table string, key unstable.Iterator, value *unstable.Node) string {
	path := strings.TrimSuffix(table, ".")
	for key.Next() {
		if strings.Count(path, ".") >= maxDepth-1 {
			break
		}
		n := key.Node()
		if path != "" {
			path += "."
		}
		path += string(n.Data)
		if _, known := l.spots[path]; known {
			continue
		}
		s := spot{key: l.position(n.Raw)}
		s.value = s.key
		if value != nil && key.IsLast() && value.Raw.Length > 0 {
			s.value = l.position(value.Raw)
		}
		l.spots[path] = s
	}
	return path
}

func (l *locator) position(r unstable.Range) position {
	line, begins := slices.BinarySearch(l.lines, int(r.Offset))
	if !begins {
		line--
	}
	return position{line: line + 1, column: int(r.Offset) - l.lines[line] + 1}
}

// syntaxProblem turns a decoder's error into ours.
func syntaxProblem(path string, err error) Problem {
	p := Problem{Origin: Origin{File: path}, Message: strings.TrimPrefix(err.Error(), "toml: ")}
	if strings.Contains(p.Message, "U+") { // which character it is, the position says
		p.Message = `this is not understood: a line is KEY = VALUE, texts stand in "quotes", and a section is [NAME]`
	}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		p.Origin.Line, p.Origin.Column = de.Position()
	}
	return p
}
