package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// field is one key of a configuration struct.
type field struct {
	key   string // dotted path, as in "http.listen"
	value reflect.Value
	one   string // what a person may want several of, and gets one; "": nothing
}

// fieldsOf lists the keys of the struct that cfg points to, in its order.
func fieldsOf(cfg any) []field { return appendFields(nil, "", reflect.ValueOf(cfg).Elem()) }

func appendFields(out []field, prefix string, v reflect.Value) []field {
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("toml")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			out = appendFields(out, prefix+name+".", f)
		} else {
			out = append(out, field{prefix + name, f, v.Type().Field(i).Tag.Get("one")})
		}
	}
	return out
}

// section is the key's table and its name there.
func (f field) section() (table, name string) {
	i := strings.LastIndexByte(f.key, '.')
	if i < 0 {
		return "", f.key
	}
	return f.key[:i], f.key[i+1:]
}

// variable is the environment variable that overrides the key.
func (f field) variable(prefix string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

// set stores what TOML gave: a string, int64, bool or something that no key
// takes. Its error tells what would be right.
func (f field) set(x any) error {
	if f.one != "" && isList(x) {
		return fmt.Errorf("several %s are not supported yet; give one, as in %q", f.one, "/srv/chunks")
	}
	if u, ok := f.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		switch x := x.(type) {
		case string:
			return u.UnmarshalText([]byte(x))
		case int64: // sizes may be plain numbers; the others say what they miss
			return u.UnmarshalText(strconv.AppendInt(nil, x, 10))
		}
		return fmt.Errorf("want a text in quotes, got %s", describe(x))
	}
	switch f.value.Kind() {
	case reflect.String:
		if s, ok := x.(string); ok {
			f.value.SetString(s)
			return nil
		}
		return fmt.Errorf("want a text in quotes, got %s", describe(x))
	case reflect.Bool:
		if b, ok := x.(bool); ok {
			f.value.SetBool(b)
			return nil
		}
		return fmt.Errorf("want true or false, got %s", describe(x))
	case reflect.Int:
		n, ok := x.(int64)
		if !ok {
			return fmt.Errorf("want a whole number, got %s", describe(x))
		}
		if f.value.OverflowInt(n) {
			return fmt.Errorf("%d is out of range", n)
		}
		f.value.SetInt(n)
		return nil
	case reflect.Slice:
		return f.setList(x)
	}
	panic("config: no key may have the type " + f.value.Type().String())
}

// isList reports whether a person meant a list of paths. It is an array, or, as in the environment,
// one text of several that are joined with commas.
func isList(x any) bool {
	s, isText := x.(string)
	if !isText {
		_, isArray := x.([]any)
		return isArray
	}
	parts := strings.Split(strings.TrimSpace(s), ",")
	for _, p := range parts {
		if !strings.HasPrefix(strings.TrimLeft(p, " [\"'"), "/") {
			return false
		}
	}
	return len(parts) > 1 || strings.HasPrefix(parts[0], "[")
}

// setList stores a list of texts.
func (f field) setList(x any) error {
	list, ok := x.([]any)
	if !ok {
		return fmt.Errorf(`want a list of texts, as in ["a", "b"], got %s`, describe(x))
	}
	var texts []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return fmt.Errorf("want a list of texts in quotes, got %s in it", describe(e))
		}
		texts = append(texts, s)
	}
	f.value.Set(reflect.ValueOf(texts))
	return nil
}

// setText stores what an environment variable holds.
func (f field) setText(s string) error {
	if _, ok := f.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return f.set(s)
	}
	switch f.value.Kind() {
	case reflect.Int:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("want a whole number, got %q", s)
		}
		return f.set(n)
	case reflect.Bool:
		if s != "true" && s != "false" {
			return fmt.Errorf("want true or false, got %q", s)
		}
		return f.set(s == "true")
	case reflect.Slice: // joined with commas
		var list []any
		for e := range strings.SplitSeq(s, ",") {
			if s != "" {
				list = append(list, strings.TrimSpace(e))
			}
		}
		return f.setList(list)
	}
	return f.set(s)
}

// describe names a TOML value for a person.
func describe(x any) string {
	switch x := x.(type) {
	case string:
		return fmt.Sprintf("the text %q", x)
	case bool:
		return fmt.Sprintf("%t", x)
	case int64:
		return fmt.Sprintf("the number %d", x)
	case float64:
		return fmt.Sprintf("the number %g", x)
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
