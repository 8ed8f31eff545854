package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxFile is the largest configuration file, in bytes. The decoder compares each key with all
// before it. So the limit also bounds the time that a file full of short keys takes.
const maxFile = 64 << 10

// source says where a program's configuration comes from.
type source struct {
	program     string
	path        string // empty: defaultPath
	defaultPath string // may be missing
	prefix      string // of environment variables
	env         []string
	foreign     []string // variables with the prefix that are another program's
}

// apply fills cfg from the files, then from the environment. It reports false
// when the values are not worth a further look.
func (s *source) apply(cfg any, r *report) bool {
	fields := fieldsOf(cfg)
	s.applyFiles(fields, r)
	s.applyEnv(fields, r)
	return len(r.problems) == 0
}

// fragments is the folder beside the file whose *.toml files are read after it.
const fragments = "conf.d"

// applyFiles fills the fields from the file, then from those in the folder of fragments beside it,
// in the order of their names. The last one that names a key wins.
func (s *source) applyFiles(fields []field, r *report) {
	path := s.path
	if path == "" {
		path = s.defaultPath
	}
	s.applyFile(path, path == s.defaultPath, fields, r)
	dir := filepath.Join(filepath.Dir(path), fragments)
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.unread(s.program, err)
		return
	}
	for _, e := range entries {
		// What editors and dpkg leave behind ends differently, or begins with a dot.
		if name := e.Name(); filepath.Ext(name) == ".toml" && !strings.HasPrefix(name, ".") {
			s.applyFile(filepath.Join(dir, name), false, fields, r)
		}
	}
}

func (s *source) applyFile(path string, mayBeMissing bool, fields []field, r *report) {
	r.files = append(r.files, path)
	doc, err := readFile(path)
	if mayBeMissing && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.unread(s.program, err)
		return
	}
	p, err := parse(doc)
	if err != nil {
		r.problems = append(r.problems, syntaxProblem(path, err))
		return
	}
	t := tree{file: path, parsed: p, byKey: map[string]field{}, tables: map[string]bool{"": true}, report: r}
	for _, f := range fields {
		t.byKey[f.key] = f
		table, _ := f.section()
		t.tables[table] = true
	}
	t.walk("", p.values)
}

// readFile reads a regular file; a device or a pipe could be endless, or wait for
// ever. A file that is a link to /dev/null is one that somebody has switched off.
func readFile(path string) ([]byte, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	case !info.Mode().IsRegular() && !isNull(info):
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	doc, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(doc) > maxFile {
		return nil, fmt.Errorf("%s is larger than %s", path, ByteSize(maxFile))
	}
	return bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf")), nil // some editors begin UTF-8 with this mark
}

func isNull(info fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// tree walks a document's values and stores them in their fields.
type tree struct {
	file   string
	parsed parsed
	byKey  map[string]field
	tables map[string]bool
	report *report
}

func (t *tree) walk(table string, values map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key, x := name, values[name]
		if table != "" {
			key = table + "." + name
		}
		spot := t.parsed.spots[key]
		atKey, atValue := t.origin(spot.key), t.origin(spot.value)
		inner, isTable := x.(map[string]any)
		f, known := t.byKey[key]
		switch {
		case strings.Contains(name, "."): // "http.listen" in quotes is one strange name, not a path
			t.report.at(atKey, printable(name), "unknown key")
		case known:
			t.report.origins[key] = atValue
			if err := f.set(x); err != nil {
				t.report.at(atValue, key, "%v", err)
			}
		case t.tables[key] && isTable:
			t.walk(key, inner)
		case t.tables[key]:
			t.report.at(atKey, key, "is a section: write [%s] on a line of its own, its keys below", key)
		default:
			t.unknown(atKey, table, name, isTable)
		}
	}
}

func (t *tree) origin(p position) Origin { return Origin{File: t.file, Line: p.line, Column: p.column} }

// unknown reports a key or section that nobody knows, with what was probably
// meant.
func (t *tree) unknown(at Origin, table, name string, isTable bool) {
	full := strings.TrimPrefix(table+"."+name, ".")
	if isTable && table == "" {
		t.report.at(at, printable(name), "unknown section%s", didYouMean("[%s]", nearest(name, t.sections())))
		return
	}
	var here, elsewhere []string
	for _, key := range slices.Sorted(maps.Keys(t.byKey)) {
		section, last := t.byKey[key].section()
		if section == table {
			here = append(here, last)
		} else if last == name {
			elsewhere = append(elsewhere, section)
		}
	}
	hint := didYouMean("%s", nearest(name, here))
	if hint == "" && len(elsewhere) > 0 {
		hint = "; it belongs " + place(elsewhere[0])
	}
	t.report.at(at, printable(full), "unknown key%s", hint)
}

func (t *tree) sections() []string {
	names := slices.Sorted(maps.Keys(t.tables))
	return slices.DeleteFunc(names, func(s string) bool { return s == "" })
}

func place(section string) string {
	if section == "" {
		return "at the top, above all sections"
	}
	return "in [" + section + "]"
}

func didYouMean(format, word string) string {
	if word == "" {
		return ""
	}
	return "; did you mean " + fmt.Sprintf(format, word) + "?"
}

// applyEnv stores the program's variables. A variable set twice counts as the
// last one, as for os/exec.
func (s *source) applyEnv(fields []field, r *report) {
	byName := map[string]field{}
	for _, f := range fields {
		byName[f.variable(s.prefix)] = f
	}
	names := append(slices.Collect(maps.Keys(byName)), s.foreign...)
	slices.Sort(names)
	set := map[string]string{}
	for _, e := range s.env {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, s.prefix) {
			set[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		at := Origin{Variable: name}
		f, known := byName[name]
		switch {
		case known:
			r.origins[f.key] = at
			if err := f.setText(set[name]); err != nil {
				r.at(at, f.key, "%v", err)
			}
		case !slices.Contains(s.foreign, name):
			r.at(Origin{}, "", "environment %s: unknown variable%s", printable(name), didYouMean("%s", nearest(name, names)))
		}
	}
}
