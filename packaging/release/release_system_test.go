//go:build system

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const version = "1.2.3~dev20261126032257.abcdef01"

var epoch = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// makeDist makes what make has made before, with this machine's programs for all
// systems, and runs the program on it.
func makeDist(t *testing.T) string {
	t.Helper()
	t.Chdir("../..")
	dist := filepath.Join(t.TempDir(), "dist")
	amd64 := filepath.Join(dist, "build", "amd64")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", amd64+"/", "./cmd/raid-node", "./cmd/raidctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raidctl, err := os.ReadFile(filepath.Join(amd64, "raidctl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"linux_amd64/raidctl", "linux_arm64/raidctl", "linux_arm6/raidctl", "darwin_amd64/raidctl", "darwin_arm64/raidctl", "windows_amd64/raidctl.exe"} {
		put(t, filepath.Join(dist, "build", name), raidctl)
	}
	if err := os.Remove(filepath.Join(amd64, "raidctl")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(amd64, "raid-controller"), raidctl)
	share := filepath.Join(dist, "build", "share")
	for _, name := range []string{"doc/raidctl/copyright", "man/man1/raidctl.1.gz", "bash-completion/completions/raidctl", "zsh/vendor-completions/_raidctl", "fish/vendor_completions.d/raidctl.fish", "powershell/raidctl.ps1"} {
		put(t, filepath.Join(share, name), []byte(name))
	}
	put(t, filepath.Join(dist, "raid-node_"+version+"-1_amd64.deb"), []byte("a package"))
	put(t, filepath.Join(dist, "raid-node_0.0.1-1_amd64.deb"), []byte("an old package"))
	put(t, filepath.Join(dist, "raid-archive-keyring_"+version+"-1_all.deb"), []byte("a throwaway key"))
	release(t, dist)
	return dist
}

// release runs the program as make does: compressing takes ten times as long in a
// process that watches for races.
func release(t *testing.T, dist string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "-buildvcs=false", "./packaging/release", "-version", version, "-epoch", fmt.Sprint(epoch.Unix()), "-dist", dist)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseHasArchivesListsAndChecksums(t *testing.T) {
	dist := makeDist(t)
	want := []string{
		"raid-node_" + version + "-1_amd64.deb",
		"raidctl_" + version + "_darwin_amd64.tar.gz", "raidctl_" + version + "_darwin_arm64.tar.gz", "raidctl_" + version + "_windows_amd64.zip",
		"raidctl_" + version + "_linux_amd64.tar.gz", "raidctl_" + version + "_linux_arm64.tar.gz", "raidctl_" + version + "_linux_armv6.tar.gz",
		"raid-controller_" + version + "_linux_amd64.cdx.json", "raid-node_" + version + "_linux_amd64.cdx.json",
		"raidctl_" + version + "_darwin_amd64.cdx.json", "raidctl_" + version + "_darwin_arm64.cdx.json", "raidctl_" + version + "_windows_amd64.cdx.json",
		"raidctl_" + version + "_linux_amd64.cdx.json", "raidctl_" + version + "_linux_arm64.cdx.json", "raidctl_" + version + "_linux_armv6.cdx.json",
	}
	text, err := os.ReadFile(filepath.Join(dist, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range want {
		if !strings.Contains(string(text), "  "+name+"\n") {
			t.Errorf("checksums.txt lacks %s", name)
		}
	}
	if n := strings.Count(string(text), "\n"); n != len(want) {
		t.Errorf("checksums.txt has %d lines, want %d:\n%s", n, len(want), text)
	}
	checkSums := func() ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "checksums.txt")
		cmd.Dir = dist
		return cmd.CombinedOutput()
	}
	if out, err := checkSums(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	checkArchives(t, dist)
	checkModules(t, filepath.Join(dist, "raid-node_"+version+"_linux_amd64.cdx.json"), filepath.Join(dist, "build/amd64/raid-node"))

	release(t, dist) // again: the same bytes
	again, err := os.ReadFile(filepath.Join(dist, "checksums.txt"))
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("a second time gives other bytes, or %v:\n%s\n%s", err, text, again)
	}
	put(t, filepath.Join(dist, want[1]), []byte("something else"))
	if out, err := checkSums(); err == nil || !strings.Contains(string(out), want[1]+": FAILED") {
		t.Errorf("a changed archive: %v\n%s", err, out)
	}
}

// checkArchives looks into an archive of each format.
func checkArchives(t *testing.T, dist string) {
	t.Helper()
	folder := "raidctl_" + version + "_linux_armv6"
	got := map[string]int64{}
	f, err := os.Open(filepath.Join(dist, folder+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch) || h.Uname != "root" {
			t.Errorf("%s is of %v and of %s", h.Name, h.ModTime, h.Uname)
		}
		got[h.Name] = h.Mode
	}
	checkNames(t, folder, "raidctl", got)

	folder = "raidctl_" + version + "_windows_amd64"
	w, err := zip.OpenReader(filepath.Join(dist, folder+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	clear(got)
	for _, f := range w.File {
		got[f.Name] = int64(f.Mode().Perm())
	}
	checkNames(t, folder, "raidctl.exe", got)
}

func checkNames(t *testing.T, folder, program string, got map[string]int64) {
	t.Helper()
	want := map[string]int64{program: 0o755}
	for _, name := range []string{"LICENSE", "README.md", "COPYRIGHT", "man/raidctl.1.gz", "completions/raidctl.bash", "completions/_raidctl", "completions/raidctl.fish", "completions/raidctl.ps1"} {
		want[name] = 0o644
	}
	for name, mode := range want {
		if got[folder+"/"+name] != mode {
			t.Errorf("%s: %s has the mode %o, want %o", folder, name, got[folder+"/"+name], mode)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s has %v", folder, got)
	}
}

// checkModules compares a list with what Go says of the program.
func checkModules(t *testing.T, list, program string) {
	t.Helper()
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Format     string `json:"bomFormat"`
		Serial     string `json:"serialNumber"`
		Components []struct {
			Name, Version, PURL string
			Hashes              []struct{ Alg, Content string }
		}
		Metadata struct {
			Timestamp string
			Component struct{ Name, Version string }
		}
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	if m := bom.Metadata; bom.Format != "CycloneDX" || m.Component.Name != "raid-node" || m.Component.Version != version || m.Timestamp != "2026-11-26T12:00:00Z" || !strings.HasPrefix(bom.Serial, "urn:uuid:") {
		t.Errorf("%s begins: %+v", list, bom.Metadata)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if len(bom.Components) != len(info.Deps)+1 || len(info.Deps) < 5 {
		t.Errorf("%d components, want the standard library and %d modules", len(bom.Components), len(info.Deps))
	}
	listed := map[string]string{}
	for _, c := range bom.Components {
		listed[c.Name] = c.Version
		if c.Name != "std" && (len(c.Hashes) != 1 || c.Hashes[0].Alg != "SHA-256" || len(c.Hashes[0].Content) != 64 || !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@")) {
			t.Errorf("%+v", c)
		}
	}
	for _, m := range info.Deps {
		if listed[m.Path] != m.Version {
			t.Errorf("%s is linked in version %s and listed as %q", m.Path, m.Version, listed[m.Path])
		}
	}
	if listed["std"] != strings.TrimPrefix(info.GoVersion, "go") {
		t.Errorf("Go is listed as %q", listed["std"])
	}
}

func TestReleaseWithoutPackagesIsRefused(t *testing.T) {
	t.Chdir("../..")
	err := run([]string{"-version", version, "-epoch", "1", "-dist", t.TempDir()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "make deb") {
		t.Errorf("%v", err)
	}
	if err := run([]string{"-dist", t.TempDir()}, io.Discard); err == nil {
		t.Error("a release of no version")
	}
}
