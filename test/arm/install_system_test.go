//go:build system

package arm

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// architectures are Debian's names of what a Raspberry Pi runs.
var architectures = []string{"arm64", "armhf"}

// built are packages that somebody has built already, by make deb.
var built = flag.String("debs", "", "the `FOLDER` of the packages to test; without it they are built")

// dist is where all that this run makes goes.
var dist string

func TestMain(m *testing.M) {
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M) (status int, err error) {
	// Tools of administrators are not in everybody's PATH, not even in that of all roots.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return 1, err
	}
	var unlock func()
	if dist, unlock, err = workspace(os.TempDir()); err != nil {
		return 1, err
	}
	defer unlock()
	status = m.Run()
	return status, os.RemoveAll(dist)
}

// temporary is a folder that ends with the test, and at the latest with a later run
// when this one is killed.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(dist, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// debs builds the packages, once, as everybody does.
var debs = sync.OnceValues(func() (string, error) {
	if *built != "" {
		return *built, nil
	}
	root, err := cluster.Root(context.Background())
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-C", root, "deb", "DIST="+dist, "ARCHS="+strings.Join(architectures, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return dist, nil
})

// maxSize is the size, in bytes, that a Pi on a slow line still installs within seconds.
const maxSize = 8e6

// packages are the files of the packages for an architecture, by the names of their
// programs.
func packages(t *testing.T, arch string) map[string]string {
	t.Helper()
	dir, err := debs()
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	for _, name := range cluster.Programs {
		found, err := filepath.Glob(filepath.Join(dir, name+"_*_"+arch+".deb"))
		if err != nil || len(found) != 1 {
			t.Fatalf("packages %s for %s in %s: %q, want one: %v", name, arch, dir, found, err)
		}
		paths[name] = found[0]
	}
	return paths
}

// root is a Debian system in a folder, which may be written to: what is underneath
// stays as it was made.
type root struct {
	t   *testing.T
	dir string
}

// newRoot puts a writable layer over the folder below.
func newRoot(t *testing.T, below string) *root {
	t.Helper()
	temp := temporary(t)
	dirs := map[string]string{}
	for _, name := range []string{"above", "work", "root"} {
		dirs[name] = filepath.Join(temp, name)
		if err := os.Mkdir(dirs[name], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", below, dirs["above"], dirs["work"])
	if err := syscall.Mount("overlay", dirs["root"], "overlay", 0, layers); err != nil {
		t.Fatalf("put a layer over %s: %v", below, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dirs["root"], 0); err != nil {
			t.Errorf("take the layer off %s: %v", below, err)
		}
	})
	return &root{t: t, dir: dirs["root"]}
}

// run runs lines in the root.
func (r *root) run(lines string) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), "chroot", r.dir, "/bin/sh", "-ec", lines)
	cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root", "TERM=dumb",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *root) must(lines string) string {
	r.t.Helper()
	out, err := r.run(lines)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", lines, err, out)
	}
	return out
}

// write makes a file of the root; folders are made as needed.
func (r *root) write(path, text string) {
	r.t.Helper()
	path = filepath.Join(r.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// install installs the packages by apt, with all that their scripts do.
func install(t *testing.T, below, arch string) (r *root, said string) {
	t.Helper()
	r = newRoot(t, below)
	var names []string
	for _, path := range packages(t, arch) {
		deb, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r.write("srv/"+filepath.Base(path), string(deb))
		names = append(names, "/srv/"+filepath.Base(path))
	}
	// The root is complete: nothing is fetched.
	said = r.must("apt-get install -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 " + strings.Join(names, " "))
	r.must("rm /srv/*.deb")
	return r, said
}

// TestPackagesInstallInAChroot installs as images for cards are made: by apt, with the maintainer
// scripts, on a system that does not run.
func TestPackagesInstallInAChroot(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			for name, path := range packages(t, arch) {
				if info, err := os.Stat(path); err != nil || info.Size() > maxSize {
					t.Errorf("package %s: %v, want at most %.0f bytes: %v", name, err, maxSize, info)
				}
			}
			r, said := install(t, prepare(t, "install", arch)[0], arch)
			for _, trouble := range []string{"warning", "error", "ailed"} {
				if strings.Contains(said, trouble) {
					t.Errorf("the installation says %q:\n%s", trouble, said)
				}
			}
			if out := r.must("dpkg --audit"); out != "" {
				t.Errorf("dpkg --audit: %s", out)
			}
			for _, daemon := range []string{"raid-controller", "raid-node"} {
				if out := r.must("getent passwd " + daemon); !strings.Contains(out, ":/var/lib/"+daemon+":") {
					t.Errorf("user of %s: %q", daemon, out)
				}
				if out := r.must("systemctl is-enabled " + daemon); out != "enabled\n" {
					t.Errorf("%s is %s", daemon, out)
				}
				// The program runs on this processor, and takes the file that came with it.
				r.must(daemon + " --check-config")
			}
			r.must("raidctl version")
			r.nothingRuns()
		})
	}
}

// nothingRuns looks for programs that were started in the root and are still there.
func (r *root) nothingRuns() {
	r.t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		r.t.Fatalf("%d processes, %v", len(processes), err)
	}
	for _, process := range processes {
		if dir, err := os.Readlink(process + "/root"); err == nil && dir == r.dir {
			line, _ := os.ReadFile(process + "/cmdline")
			r.t.Errorf("this runs after the installation: %q", line)
		}
	}
}
