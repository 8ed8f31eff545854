//go:build system

package packages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folder is where all documents of all packages are.
const folder = "/usr/share/doc/"

// document matches a document as messages, comments and man pages name it.
var document = regexp.MustCompile(`^/usr/share/doc/(raid-controller|raid-node|raidctl)/[a-z-]+\.md`)

// What an installed machine says of a document leads to one that it has. The strings of
// a program lie one behind the other, so a name ends with its extension.
func TestDocumentsThatAreNamedAreInThePackage(t *testing.T) {
	root := unpacked(t, native(t))
	named := map[string]bool{}
	for _, name := range names {
		for _, deb := range entries(t, debOf(t, name, native(t))) {
			path := filepath.Join(root, deb.Name)
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || strings.Contains(deb.Name, "/copyright") {
				continue
			}
			text := read(t, path)
			if strings.HasSuffix(deb.Name, ".gz") {
				text = strings.ReplaceAll(string(unzipped(t, path)), `\-`, "-")
			}
			for _, file := range documentsIn(text) {
				named[file] = true
				// The package that says it has it: another may not be installed.
				if !strings.HasPrefix(file, "/usr/share/doc/"+name+"/") && !strings.HasSuffix(deb.Name, ".md") && !strings.HasPrefix(deb.Name, "./usr/bin/") {
					t.Errorf("%s of %s speaks of %s", deb.Name, name, file)
				}
				if _, err := os.Stat(filepath.Join(root, file)); err != nil {
					t.Errorf("%s speaks of %s, which is not there", deb.Name, file)
				}
			}
		}
	}
	for _, file := range []string{"/usr/share/doc/raid-node/chunk-disk.md", "/usr/share/doc/raid-controller/catalog.md"} {
		if !named[file] {
			t.Errorf("nothing speaks of %s", file)
		}
	}
}

// documentsIn are those that text names. It searches a program's 10 MB by their folder,
// which a regular expression takes seconds for.
func documentsIn(text string) (files []string) {
	for {
		at := strings.Index(text, folder)
		if at < 0 {
			return files
		}
		if file := document.FindString(text[at:min(at+100, len(text))]); file != "" {
			files = append(files, file)
		}
		text = text[at+len(folder):]
	}
}

// link is one of a document to another.
var link = regexp.MustCompile(`\]\(([^)#\s]+)`)

// What a document links to is in the same package, beside it: nobody has to install another
// one to read on.
func TestLinksOfDocumentsLeadToDocuments(t *testing.T) {
	root := unpacked(t, native(t))
	for _, name := range names {
		has, links := map[string]bool{}, 0
		for _, deb := range entries(t, debOf(t, name, native(t))) {
			has[filepath.Clean("/"+deb.Name)] = true
		}
		for file := range has {
			if !strings.HasSuffix(file, ".md") {
				continue
			}
			for _, found := range link.FindAllStringSubmatch(read(t, filepath.Join(root, file)), -1) {
				to := found[1]
				if strings.Contains(to, "://") {
					continue
				}
				if links++; !has[filepath.Join(filepath.Dir(file), to)] {
					t.Errorf("%s of %s links to %s, which it has not", file, name, to)
				}
			}
		}
		if links == 0 {
			t.Errorf("%s has no document with a link", name)
		}
	}
}

// inSources is a document's place in the sources, which no installed machine has.
var inSources = regexp.MustCompile("[\"`(, ]docs/[a-z-]+\\.md")

func TestMessagesNameNoPlaceInTheSources(t *testing.T) {
	for _, dir := range []string{"../../internal", "../../cmd", "../../systemd", "../../packaging"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".sql") {
				return err
			}
			for line := range strings.Lines(read(t, path)) {
				text := line // of what is installed as it is, the comments too
				if strings.HasSuffix(path, ".go") {
					text, _, _ = strings.Cut(line, "//")
				}
				if found := inSources.FindString(text); found != "" {
					t.Errorf("%s says %q: name what the package has in /usr/share/doc", path, found)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDocumentsAreThoseOfTheSources(t *testing.T) {
	root := unpacked(t, native(t))
	found, err := filepath.Glob(filepath.Join(root, "usr/share/doc/*/*.md"))
	if err != nil || len(found) != 39 {
		t.Fatalf("the documents are %q, %v", found, err)
	}
	for _, path := range found {
		if read(t, path) != read(t, filepath.Join("../../docs", filepath.Base(path))) {
			t.Errorf("%s is another one than in docs", path)
		}
	}
}
