//go:build system

package packages

import (
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestLintianFindsNothing(t *testing.T) {
	args := []string{"--allow-root", "--fail-on", "error,warning", "--suppress-tags", "initial-upload-closes-no-bugs"}
	if out := run(t, "lintian", append(args, debs(t, native(t))...)...); strings.Contains(out, ": ") {
		t.Errorf("lintian says:\n%s", out)
	}
}

func TestChangelogIsOfThePackagesVersion(t *testing.T) {
	root := unpacked(t, native(t))
	for _, name := range names {
		dir := filepath.Join(root, "usr", "share", "doc", name)
		log := filepath.Join(t.TempDir(), "changelog")
		if err := os.WriteFile(log, unzipped(t, filepath.Join(dir, "changelog.Debian.gz")), 0o600); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"Version": revision, "Source": name} {
			if got := strings.TrimSpace(run(t, "dpkg-parsechangelog", "-l"+log, "-S", key)); got != want {
				t.Errorf("%s: the changelog's %s is %q, want %q", name, key, got, want)
			}
		}
		// What changed for people who use it.
		ours, err := os.ReadFile(filepath.Join("..", "..", "CHANGELOG.md"))
		if err != nil {
			t.Fatal(err)
		}
		if string(unzipped(t, filepath.Join(dir, "changelog.gz"))) != string(ours) {
			t.Errorf("%s: changelog.gz is not CHANGELOG.md", name)
		}
	}
}

func unzipped(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	if r.Name != "" || !r.ModTime.IsZero() {
		t.Errorf("%s was compressed as %q, %v", path, r.Name, r.ModTime)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return content
}

func TestManAcceptsEachPageAndEachProgramHasOneAndCompletions(t *testing.T) {
	root := unpacked(t, native(t))
	for _, name := range names {
		pages, err := filepath.Glob(filepath.Join(root, "usr", "share", "man", "man[18]", name+".[18].gz"))
		if err != nil || len(pages) != 1 {
			t.Errorf("%s has the pages %v, %v", name, pages, err)
		}
		silent(t, "bash", "-n", filepath.Join(root, "usr", "share", "bash-completion", "completions", name))
	}
	pages, err := filepath.Glob(filepath.Join(root, "usr", "share", "man", "man*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		unzipped(t, page)
		// -Z: what groff makes of it, before it is laid out; its complaints are on
		// standard error.
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80")
		var complaints strings.Builder
		cmd.Stderr = &complaints
		if err := cmd.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("man %s: %v %s", page, err, complaints.String())
		}
	}
}

// A library's licence is part of what lets us hand it out.
func TestCopyrightNamesAllThatIsLinked(t *testing.T) {
	for _, arch := range archs {
		root := unpacked(t, arch)
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(root, "usr", "share", "doc", name, "copyright"))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range built(t, root, name).Deps {
				paragraph := "\nFiles: " + m.Path + "@" + m.Version + "/*\nCopyright: "
				if !strings.Contains(string(text), paragraph) {
					t.Errorf("%s for %s links %s %s, which its copyright file does not have", name, arch, m.Path, m.Version)
				}
			}
			for _, want := range []string{"License: Apache-2.0\n", "/usr/share/common-licenses/Apache-2.0", "The Go Authors"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("the copyright file of %s has no %q", name, want)
				}
			}
		}
	}
}
