package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/raidpi/raidpi"

// file is one parsed Go file of the repository.
type file struct {
	*ast.File
	path      string // from the repository's root, with slashes
	text      string
	lines     int
	generated bool
}

// dir is the folder of the file: its package's path within the module.
func (f *file) dir() string { return path.Dir(f.path) }

func (f *file) isTest() bool {
	return strings.HasSuffix(f.path, "_test.go") || strings.HasSuffix(f.dir(), "test") // as catalogtest
}

// isOutside tells the tests that see their package from outside.
func (f *file) isOutside() bool { return f.isTest() && strings.HasSuffix(f.Name.Name, "_test") }

// imported are the paths that the file imports.
func (f *file) imported() []string {
	var paths []string
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// source is everything that is tested, parsed once.
var source = sync.OnceValues(func() (*sources, error) {
	s := &sources{fset: token.NewFileSet()}
	root := os.DirFS(filepath.Join("..", ".."))
	for _, dir := range []string{"cmd", "internal", "packaging", "test"} {
		err := fs.WalkDir(root, dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || path.Ext(name) != ".go" {
				return err
			}
			return s.parse(root, name)
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
})

type sources struct {
	fset  *token.FileSet
	files []*file
}

func (s *sources) parse(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	s.files = append(s.files, &file{
		File: parsed, path: name, text: string(text),
		lines: strings.Count(string(text), "\n"), generated: ast.IsGenerated(parsed),
	})
	return nil
}

// lines counts the lines of a piece of code.
func (s *sources) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// all parses the repository.
func all(t *testing.T) *sources {
	t.Helper()
	s, err := source()
	if err != nil {
		t.Fatalf("read the source: %v", err)
	}
	if len(s.files) == 0 {
		t.Fatal("there is no source where it was looked for")
	}
	return s
}
