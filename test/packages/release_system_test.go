//go:build system

package packages

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	version  = "1.2.3~dev20260102000000.0123abcd"
	revision = version + "-1"
	epoch    = 1767312000 // 2026-01-02T00:00:00Z
)

var (
	names = []string{"raid-controller", "raid-node", "raidctl"}
	// daemons are the packages with a unit.
	daemons = []string{"raid-controller", "raid-node"}
	// archs are those that are looked into here; test/arm installs arm64 too.
	archs = []string{"amd64", "armhf"}
)

// temporary is where everything is built.
var temporary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "raidpi-packages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a temporary folder:", err)
		os.Exit(1)
	}
	// Whatever the umask is, dpkg-deb and man look into it as other users.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "open the temporary folder:", err)
		os.Exit(1)
	}
	temporary = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// release has all packages, as make deb left them.
var release = sync.OnceValues(func() (string, error) {
	dist := filepath.Join(temporary, "dist")
	return dist, makeDeb(filepath.Join("..", ".."), dist, "022", archs)
})

// makeDeb runs make deb in the sources at dir, and nothing of what make was told
// gets through to it.
func makeDeb(dir, dist, umask string, archs []string, env ...string) error {
	cmd := exec.Command("sh", "-c", `umask $0; exec make deb "$@"`, umask, "DIST="+dist, "VERSION="+version, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), "ARCHS="+strings.Join(archs, " "))
	cmd.Dir = dir
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "CGO_ENABLED", "BUILT", "GOARCH", "GOARM"}, name) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make deb in %s: %w\n%s", dir, err, out)
	}
	return nil
}

// debOf is the file of one package.
func debOf(t *testing.T, name, arch string) string {
	t.Helper()
	dist, err := release()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dist, name+"_"+revision+"_"+arch+".deb")
}

// debs are the files of all packages for one architecture.
func debs(t *testing.T, arch string) []string {
	t.Helper()
	var files []string
	for _, name := range names {
		files = append(files, debOf(t, name, arch))
	}
	return files
}

// native is this machine's architecture, in Debian's words.
func native(t *testing.T) string {
	t.Helper()
	arch, ok := map[string]string{"amd64": "amd64", "arm64": "arm64", "arm": "armhf"}[runtime.GOARCH]
	if !ok {
		t.Fatalf("there are no packages for %s", runtime.GOARCH)
	}
	return arch
}

// roots are the unpacked packages of each architecture. Tests only read them.
var roots sync.Map

// unpacked is a folder with what is in the packages for an architecture, to look at.
func unpacked(t *testing.T, arch string) string {
	t.Helper()
	files := debs(t, arch)
	once, _ := roots.LoadOrStore(arch, sync.OnceValues(func() (string, error) {
		dir := filepath.Join(temporary, "root-"+arch)
		return dir, unpack(dir, files)
	}))
	dir, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func unpack(dir string, debs []string) error {
	for _, deb := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", deb, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", deb, err, out)
		}
	}
	return nil
}

// listed has what entries has found in each package.
var listed sync.Map

// entries are the headers of what a package brings, from the root on.
func entries(t *testing.T, deb string) []*tar.Header {
	t.Helper()
	once, _ := listed.LoadOrStore(deb, sync.OnceValues(func() ([]*tar.Header, error) { return headers(deb) }))
	all, err := once.(func() ([]*tar.Header, error))()
	if err != nil {
		t.Fatalf("list %s: %v", deb, err)
	}
	return all
}

func headers(deb string) ([]*tar.Header, error) {
	content, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
	if err != nil {
		return nil, err
	}
	var all []*tar.Header
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
}

// field is one of a package's control fields.
func field(t *testing.T, deb, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "dpkg-deb", "-f", deb, name))
}

// script is one of a package's maintainer scripts.
func script(t *testing.T, deb, name string) string {
	t.Helper()
	return run(t, "dpkg-deb", "-I", deb, name)
}

// run runs a program that has to succeed, and returns what it said.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// silent runs a program that has to succeed and to say nothing.
func silent(t *testing.T, name string, args ...string) {
	t.Helper()
	if out := run(t, name, args...); out != "" {
		t.Errorf("%s %s says:\n%s", name, strings.Join(args, " "), out)
	}
}
