package house

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// named are the paths in CONTRIBUTING.md, in code quotes.
var named = regexp.MustCompile("`((?:cmd|docs|internal|packaging|proto|systemd|test)/[A-Za-z0-9_./-]+)`")

// Whoever looks for a file with the map finds it.
func TestTheMapOfTheCodeNamesWhatIsThere(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := named.FindAllStringSubmatch(string(text), -1)
	if len(found) == 0 {
		t.Error("it names no file")
	}
	for _, f := range found {
		if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(f[1]))); err != nil {
			t.Error(err)
		}
	}
}
