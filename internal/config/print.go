package config

import (
	"bufio"
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printConfig writes cfg as TOML, one key a line, its origin in a comment.
func printConfig(w io.Writer, cfg any, origins Origins) error {
	fields := fieldsOf(cfg)
	lines, width := make([]string, len(fields)), 0
	for i, f := range fields {
		text, err := f.toml()
		if err != nil {
			return fmt.Errorf("print configuration: %s: %w", f.key, err)
		}
		_, name := f.section()
		lines[i] = name + " = " + text
		if n := utf8.RuneCountInString(lines[i]); n <= 48 { // a long path needn't push all comments away
			width = max(width, n)
		}
	}
	b := bufio.NewWriter(w)
	open := ""
	for i, f := range fields {
		if table, _ := f.section(); table != open {
			fmt.Fprintf(b, "\n[%s]\n", table)
			open = table
		}
		pad := max(0, width-utf8.RuneCountInString(lines[i]))
		fmt.Fprintf(b, "%s%s  # %s\n", lines[i], strings.Repeat(" ", pad), origins[f.key])
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

// valuesOf is each key's value as TOML, for comparing two configurations.
func valuesOf(cfg any) map[string]string {
	all := map[string]string{}
	for _, f := range fieldsOf(cfg) {
		text, err := f.toml()
		if err != nil { // TestEveryValueCanBeCompared
			panic("config: " + err.Error())
		}
		all[f.key] = text
	}
	return all
}

// toml writes the field's value.
func (f field) toml() (string, error) {
	if m, ok := f.value.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		return quote(string(text)), err
	}
	switch f.value.Kind() {
	case reflect.String:
		return quote(f.value.String()), nil
	case reflect.Bool:
		return strconv.FormatBool(f.value.Bool()), nil
	case reflect.Int:
		return strconv.FormatInt(f.value.Int(), 10), nil
	case reflect.Slice:
		quoted := make([]string, f.value.Len())
		for i := range quoted {
			quoted[i] = quote(f.value.Index(i).String())
		}
		return "[" + strings.Join(quoted, ", ") + "]", nil
	}
	return "", fmt.Errorf("no key may have the type %s", f.value.Type())
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
