//go:build system

package repository

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	version = "9.8.7"
	epoch   = "1795651200"
)

// root is the top of the sources, where the scripts run.
const root = "../.."

// packages are those in the repository, beside the keyring.
var packages = []string{"raid-controller", "raid-node", "raidctl"}

// dist has a repository with packages of nothing, made once by the script that makes
// the real one.
var dist string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "repository")
	if err == nil {
		err = os.Setenv("GNUPGHOME", dir) // not the keys of whoever runs the tests
	}
	if err == nil {
		dist = filepath.Join(dir, "dist")
		err = makeDist()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a repository:", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func makeDist() error {
	for _, name := range packages {
		if err := makePackage(dist, name, version, "amd64"); err != nil {
			return err
		}
	}
	out, err := aptRepo().CombinedOutput()
	if err == nil && !strings.Contains(string(out), "THROWAWAY") {
		err = fmt.Errorf("it does not say that the key is a throwaway")
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// makePackage makes one that has no more than apt needs.
func makePackage(dist, name, version, arch string) error {
	tree := filepath.Join(dist, "build", name+"_"+version+"_"+arch)
	control := fmt.Sprintf("Package: %s\nVersion: %s-1\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\nDescription: nothing\n", name, version, arch)
	if err := os.MkdirAll(filepath.Join(tree, "DEBIAN"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN", "control"), []byte(control), 0o644); err != nil {
		return err
	}
	out, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", tree, filepath.Join(dist, name+"_"+version+"-1_"+arch+".deb")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// aptRepo is the script as make calls it.
func aptRepo(env ...string) *exec.Cmd {
	cmd := exec.Command("packaging/apt-repo")
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "DIST="+dist, "VERSION="+version, "EPOCH="+epoch, "ARCHS=amd64", "KEY=", "OTHERS="), env...)
	return cmd
}

// host is a machine as far as apt knows.
type host struct {
	dir string
	env []string
}

// newHost has apt look at nothing of this machine, and trust the repository's key
// alone, for a server that hands out files of a folder.
func newHost(t *testing.T, files string) *host {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(files)))
	t.Cleanup(server.Close)
	h := &host{dir: t.TempDir()}
	for _, d := range []string{"etc/apt/apt.conf.d", "etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/lib/dpkg", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.write(t, "var/lib/dpkg/status", "")
	h.write(t, "apt.conf", fmt.Sprintf("Dir %q;\nDir::State::status %q;\nDir::Bin::methods \"/usr/lib/apt/methods/\";\nAPT::Architecture \"amd64\";\nAPT::Architectures { \"amd64\"; };\nAPT::Sandbox::User \"root\";\nAcquire::Retries \"0\";\nAcquire::http::Proxy \"DIRECT\";\n",
		h.dir, filepath.Join(h.dir, "var/lib/dpkg/status")))
	h.write(t, "etc/apt/sources.list.d/raidpi.sources", fmt.Sprintf("Types: deb\nURIs: %s\nSuites: bookworm\nComponents: main\nSigned-By: %s\n",
		server.URL, filepath.Join(dist, "apt", "raid-archive-keyring.gpg")))
	h.env = append(os.Environ(), "APT_CONFIG="+filepath.Join(h.dir, "apt.conf"), "LC_ALL=C")
	return h
}

func (h *host) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a program of apt there.
func (h *host) run(t *testing.T, words ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = h.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// fetched are the packages that apt has let through, ready to be installed.
func (h *host) fetched(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "var/cache/apt/archives/*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// copied is a copy of the repository, for somebody to spoil.
func copied(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "apt")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(dist, "apt"))); err != nil {
		t.Fatal(err)
	}
	return dir
}
