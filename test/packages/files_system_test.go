//go:build system

package packages

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEachArchitectureHasItsPackages(t *testing.T) {
	for _, arch := range archs {
		for _, name := range names {
			deb := debOf(t, name, arch)
			for key, want := range map[string]string{"Package": name, "Architecture": arch, "Version": revision} {
				if got := field(t, deb, key); got != want {
					t.Errorf("%s: %s is %q", deb, key, got)
				}
			}
			if field(t, deb, "Maintainer") == "" || field(t, deb, "Section") == "" || field(t, deb, "Description") == "" {
				t.Errorf("%s does not say what it is and who is asked about it", deb)
			}
		}
	}
}

// What the scripts and the unit run has to be there, and what finds the controller and
// brings the next key is wanted.
func TestPackagesNeedAndWantWhatTheyUse(t *testing.T) {
	for _, arch := range archs {
		for _, name := range daemons {
			deb := debOf(t, name, arch)
			if got := field(t, deb, "Depends"); got != "procps, systemd | systemd-standalone-sysusers | systemd-sysusers" {
				t.Errorf("%s depends on %q", deb, got)
			}
			if got := field(t, deb, "Recommends"); got != "avahi-daemon, raid-archive-keyring, raidctl" {
				t.Errorf("%s recommends %q", deb, got)
			}
		}
		if got := field(t, debOf(t, "raidctl", arch), "Recommends"); got != "raid-archive-keyring" {
			t.Errorf("raidctl recommends %q", got)
		}
	}
}

func TestAvahiTellsTheControllersPort(t *testing.T) {
	told := read(t, filepath.Join(unpacked(t, native(t)), "etc/avahi/services/raid-controller.service"))
	for _, kind := range []string{"_raidpi._tcp", "_https._tcp"} {
		if !strings.Contains(told, "<type>"+kind+"</type>\n    <port>9000</port>") {
			t.Errorf("%s is not told with port 9000:\n%s", kind, told)
		}
	}
}

// maxSize is the size, in bytes, that a Pi on a slow line still installs within seconds.
const maxSize = 8e6

func TestPackagesAreSmall(t *testing.T) {
	for _, arch := range archs {
		for _, deb := range debs(t, arch) {
			info, err := os.Stat(deb)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %.1f MB", filepath.Base(deb), float64(info.Size())/1e6)
			if info.Size() > maxSize {
				t.Errorf("%s has %d bytes", deb, info.Size())
			}
		}
	}
}

// The same sources in another folder, for a person with other habits.
func TestSameSourcesGiveTheSameBytes(t *testing.T) {
	source, dist := filepath.Join(t.TempDir(), "elsewhere"), t.TempDir()
	copySources(t, source)
	arch := native(t)
	if err := makeDeb(source, dist, "077", []string{arch}, "TZ=Asia/Tokyo", "LC_ALL=C", "USER=somebody"); err != nil {
		t.Fatal(err)
	}
	for _, first := range debs(t, arch) {
		a, err := os.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dist, filepath.Base(first)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s is another one when it is built again", filepath.Base(first))
		}
	}
}

// copySources copies what make deb reads, with the permissions of another umask.
func copySources(t *testing.T, to string) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			if rel != "." && (strings.HasPrefix(e.Name(), ".") || slices.Contains([]string{"bin", "dist"}, rel)) {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, info.Mode().Perm()&0o700)
	})
	if err != nil {
		t.Fatalf("copy the sources: %v", err)
	}
}

// conffiles are the files that a person may edit, whose edits an upgrade keeps.
var conffiles = map[string][]string{
	"raid-controller": {
		"/etc/avahi/services/raid-controller.service", "/etc/default/raid-controller", "/etc/raid-controller/raid-controller.toml",
	},
	"raid-node": {"/etc/default/raid-node", "/etc/raid-node/raid-node.toml"},
	"raidctl":   nil,
}

func TestFilesInEtcAndNoOthersAreConffiles(t *testing.T) {
	for _, name := range names {
		for _, arch := range archs {
			deb := debOf(t, name, arch)
			var listed, inEtc []string
			if conffiles[name] != nil {
				listed = strings.Fields(script(t, deb, "conffiles"))
			}
			for _, h := range entries(t, deb) {
				if strings.HasPrefix(h.Name, "./etc/") && h.Typeflag == tar.TypeReg {
					inEtc = append(inEtc, h.Name[1:])
				}
			}
			slices.Sort(listed)
			slices.Sort(inEtc)
			if !slices.Equal(listed, conffiles[name]) || !slices.Equal(inEtc, conffiles[name]) {
				t.Errorf("%s for %s has the conffiles %v, and in /etc %v; want %v", name, arch, listed, inEtc, conffiles[name])
			}
		}
	}
}

// Where a merged /usr has links no package may bring a folder, and nobody but root
// owns anything: users have other numbers on each machine.
func TestNothingLiesWhereItMustNot(t *testing.T) {
	for _, arch := range archs {
		for _, deb := range debs(t, arch) {
			for _, h := range entries(t, deb) {
				what := filepath.Base(deb) + ": " + h.Name
				for _, dir := range []string{"./lib", "./bin", "./sbin", "./lib64", "./usr/local", "./var", "./run", "./home", "./root", "./opt"} {
					if h.Name == dir || strings.HasPrefix(h.Name, dir+"/") {
						t.Errorf("%s is in %s", what, dir)
					}
				}
				if h.Uname != "root" || h.Gname != "root" || h.Uid != 0 || h.Gid != 0 {
					t.Errorf("%s belongs to %s:%s (%d:%d)", what, h.Uname, h.Gname, h.Uid, h.Gid)
				}
				if h.ModTime.Unix() != epoch {
					t.Errorf("%s is from %v", what, h.ModTime)
				}
				want := int64(0o644)
				if h.Typeflag == tar.TypeDir || strings.HasPrefix(h.Name, "./usr/bin/") {
					want = 0o755
				}
				if h.Mode != want {
					t.Errorf("%s has the mode %o", what, h.Mode)
				}
			}
		}
	}
}

// The first Raspberry Pi and the Zero are called armhf by Raspberry Pi OS.
func TestProgramsAreMadeForTheOldestMachineOfTheirArchitecture(t *testing.T) {
	want := map[string]map[string]string{
		"amd64": {"GOARCH": "amd64", "GOAMD64": "v1"},
		"arm64": {"GOARCH": "arm64", "GOARM64": "v8.0"},
		"armhf": {"GOARCH": "arm", "GOARM": "6"},
	}
	for _, arch := range archs {
		root := unpacked(t, arch)
		for _, name := range names {
			info := built(t, root, name)
			settings := map[string]string{}
			for _, s := range info.Settings {
				settings[s.Key] = s.Value
			}
			want[arch]["CGO_ENABLED"], want[arch]["GOOS"], want[arch]["-trimpath"] = "0", "linux", "true"
			for key, value := range want[arch] {
				if settings[key] != value {
					t.Errorf("%s for %s has %s=%s, want %s", name, arch, key, settings[key], value)
				}
			}
		}
	}
}

func built(t *testing.T, root, name string) *buildinfo.BuildInfo {
	t.Helper()
	info, err := buildinfo.ReadFile(filepath.Join(root, "usr", "bin", name))
	if err != nil {
		t.Fatalf("read how %s was built: %v", name, err)
	}
	return info
}

func TestProgramsSayTheVersionOfTheirPackage(t *testing.T) {
	root := unpacked(t, native(t))
	for _, name := range names {
		said := run(t, filepath.Join(root, "usr", "bin", name), "--version")
		if !strings.Contains(said, " "+version+" ") {
			t.Errorf("%s --version says %q, its package %s", name, said, version)
		}
	}
}
