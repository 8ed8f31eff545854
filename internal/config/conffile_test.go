package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// commented is a key of a conffile: "# text" is for people, "#key = value" a
// default.
var commented = regexp.MustCompile(`(?m)^#([a-z_]+ = )`)

// The conffiles of the packages name every key, and what they call its default is
// its default.
func TestConffilesShowEveryKeyWithItsDefault(t *testing.T) {
	for _, c := range []struct {
		file     string
		defaults any
		load     func(path string) (any, Origins, error)
	}{
		{"raid-controller.toml", DefaultController(), func(path string) (any, Origins, error) { return LoadController(path, nil) }},
		{"raid-node.toml", DefaultNode(), func(path string) (any, Origins, error) { return LoadNode(path, nil) }},
	} {
		text, err := os.ReadFile("../../packaging/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		got, origins, err := c.load(write(t, string(text)))
		if err != nil || len(origins) > 0 || !reflect.DeepEqual(got, c.defaults) {
			t.Errorf("%s as it is sets %v, %v", c.file, origins, err)
		}
		live := commented.ReplaceAllString(string(text), "$1")
		got, origins, err = c.load(write(t, live))
		if err != nil {
			t.Errorf("%s without its # signs: %v", c.file, err)
			continue
		}
		for _, f := range fieldsOf(c.defaults) {
			if origins[f.key].File == "" {
				t.Errorf("%s leaves %s out", c.file, f.key)
			}
		}
		if !sameText(got, c.defaults) {
			t.Errorf("%s says that the defaults are %+v, they are %+v", c.file, got, c.defaults)
		}
		explained(t, c.file, string(text))
	}
}

// sameText compares configurations as they are printed: an empty list is no list.
func sameText(a, b any) bool {
	var x, y strings.Builder
	return printConfig(&x, a, nil) == nil && printConfig(&y, b, nil) == nil && x.String() == y.String()
}

// explained checks that each group of keys has a line for a person above it. It also checks that
// all lines can be read on a small terminal.
func explained(t *testing.T, file, text string) {
	t.Helper()
	above := ""
	for n, line := range strings.Split(text, "\n") {
		if len(line) > 90 {
			t.Errorf("%s:%d has %d characters", file, n+1, len(line))
		}
		if commented.MatchString(line) && !strings.HasPrefix(above, "# ") && !commented.MatchString(above) {
			t.Errorf("%s:%d: nothing says what %s is", file, n+1, line)
		}
		above = line
	}
}
