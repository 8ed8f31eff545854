//go:build system

package repository

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestAptInstallsFromTheRepository(t *testing.T) {
	h := newHost(t, filepath.Join(dist, "apt"))
	out, err := h.run(t, "apt-get", "update", "--error-on=any")
	if err != nil || strings.Contains(out, "W:") {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	if out, err = h.run(t, "apt-get", "install", "-y", "--download-only", "raid-node", "raidctl", "raid-archive-keyring"); err != nil {
		t.Fatalf("apt-get install: %v\n%s", err, out)
	}
	if got := h.fetched(t); len(got) != 3 {
		t.Errorf("fetched %q", got)
	}
}

// The indexes of before are found by who has the Release of before.
func TestIndexesAreFetchedByTheirHashes(t *testing.T) {
	dir := copied(t)
	for _, index := range find(t, dir, "Packages") {
		if err := os.Remove(index); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := newHost(t, dir).run(t, "apt-get", "update", "--error-on=any"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A cache on the way hands out the old InRelease after the repository was replaced.
func TestIndexesOfTheRepositoryBeforeAreStillThere(t *testing.T) {
	again, release := filepath.Join(t.TempDir(), "dist"), "dists/bookworm/InRelease"
	if err := os.CopyFS(again, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	before := read(t, filepath.Join(again, "apt", release))
	packages := read(t, filepath.Join(again, "apt/dists/bookworm/main/binary-amd64/Packages"))
	if out, err := aptRepo("DIST="+again, "EPOCH=1795651201").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if read(t, filepath.Join(again, "apt/dists/bookworm/main/binary-amd64/Packages")) == packages {
		t.Fatal("it is the same as before")
	}
	if err := os.WriteFile(filepath.Join(again, "apt", release), []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := newHost(t, filepath.Join(again, "apt")).run(t, "apt-get", "update", "--error-on=any"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestATamperedRepositoryIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		what string // pattern of the names of files in which a byte is changed
	}{
		{"InRelease and Release", "Release"},
		{"signature", "Release.gpg|InRelease"},
		{"Packages", "Packages|[0-9a-f]{64}"},
		{"package", "deb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copied(t)
			changed := 0
			for _, path := range find(t, dir, c.what) {
				if c.name == "package" && !strings.Contains(path, "raid-node_") {
					continue
				}
				if c.name == "signature" {
					spoilSignature(t, path)
				} else {
					spoil(t, path)
				}
				changed++
			}
			if changed == 0 {
				t.Fatal("nothing was changed")
			}
			h := newHost(t, dir)
			update, updateErr := h.run(t, "apt-get", "update", "--error-on=any")
			install, installErr := h.run(t, "apt-get", "install", "-y", "--download-only", "raid-node")
			if installErr == nil || len(h.fetched(t)) > 0 {
				t.Errorf("apt takes it\n%s\n%s", update, install)
			}
			if c.name != "package" && updateErr == nil {
				t.Errorf("apt-get update says nothing\n%s", update)
			}
			if c.name == "signature" && !strings.Contains(update, "BADSIG") {
				t.Errorf("apt-get update does not say that the signature is bad\n%s", update)
			}
		})
	}
}

// A host that knows the good state keeps to it.
func TestTamperingLaterDoesNotReplaceWhatWasVerified(t *testing.T) {
	dir := copied(t)
	h := newHost(t, dir)
	if out, err := h.run(t, "apt-get", "update", "--error-on=any"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	release := filepath.Join(dir, "dists/bookworm/InRelease")
	text, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(release, bytes.Replace(text, []byte("Label: raidpi"), []byte("Label: r4idpi"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	// HTTP's times are whole seconds: one that is changed at once looks unchanged.
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(release, later, later); err != nil {
		t.Fatal(err)
	}
	out, err := h.run(t, "apt-get", "update", "--error-on=any")
	if err == nil || !strings.Contains(out, "BADSIG") && !strings.Contains(out, "signature") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAKeyThatIsNotTheRepositorysIsRefused(t *testing.T) {
	other := copied(t)
	home := shortDir(t)
	gpg(t, home, "--quick-generate-key", "--passphrase", "", "somebody else", "ed25519", "sign", "never")
	for _, release := range find(t, other, "Release") {
		dir := filepath.Dir(release)
		for _, signed := range []string{"InRelease", "Release.gpg"} {
			if err := os.Remove(filepath.Join(dir, signed)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		gpg(t, home, "--clearsign", "-o", filepath.Join(dir, "InRelease"), filepath.Join(dir, "Release"))
	}
	h := newHost(t, other)
	if out, err := h.run(t, "apt-get", "update", "--error-on=any"); err == nil {
		t.Errorf("apt takes it\n%s", out)
	}
	if out, err := h.run(t, "apt-get", "install", "-y", "--download-only", "raid-node"); err == nil {
		t.Errorf("apt takes it\n%s", out)
	}
}

func TestRepositoryHasWhatBothReleasesOfDebianTake(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		release := read(t, filepath.Join(dist, "apt/dists", suite, "Release"))
		for _, field := range []string{"Origin: raidpi\n", "Suite: " + suite + "\n", "Codename: " + suite + "\n", "Components: main\n", "SHA256:\n"} {
			if !strings.Contains(release, field) {
				t.Errorf("%s: Release lacks %q", suite, field)
			}
		}
		if strings.Contains(release, "MD5Sum:") || strings.Contains(release, "SHA1:") || strings.Contains(release, "Valid-Until:") {
			t.Errorf("%s: Release has old digests, or ends one day:\n%s", suite, release)
		}
		index := read(t, filepath.Join(dist, "apt/dists", suite, "main/binary-amd64/Packages"))
		if strings.Contains(index, "\nMD5sum:") || strings.Contains(index, "\nSHA1:") || strings.Count(index, "\nSHA256: ") != 4 {
			t.Errorf("%s: digests of the packages:\n%s", suite, index)
		}
		dir := filepath.Join(dist, "apt/dists", suite)
		for _, signed := range [][]string{{filepath.Join(dir, "InRelease")}, {filepath.Join(dir, "Release.gpg"), filepath.Join(dir, "Release")}} {
			out, err := exec.CommandContext(t.Context(), "gpg", append([]string{
				"--status-fd", "1", "--no-default-keyring", "--keyring", filepath.Join(dist, "apt/raid-archive-keyring.gpg"), "--verify",
			}, signed...)...).CombinedOutput()
			// Ed25519 (22) over SHA-512 (10).
			if err != nil || !regexp.MustCompile(`(?m)^\[GNUPG:\] VALIDSIG \S+ \S+ \d+ \d+ \d+ \d+ 22 10 `).Match(out) {
				t.Errorf("%s: %v\n%s", signed[0], err, out)
			}
		}
	}
}

// trixie's apt takes no SHA-1 anywhere, the key's signatures below itself included.
func TestKeyIsEd25519AndKnowsNoSHA1(t *testing.T) {
	packets, err := exec.CommandContext(t.Context(), "gpg", "--list-packets", filepath.Join(dist, "apt/raid-archive-keyring.gpg")).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(packets), "algo 22") {
		t.Errorf("it is not Ed25519:\n%s", packets)
	}
	for _, m := range regexp.MustCompile(`digest algo (\d+)`).FindAllStringSubmatch(string(packets), -1) {
		if m[1] != "8" && m[1] != "9" && m[1] != "10" {
			t.Errorf("a signature of digest %s:\n%s", m[1], packets)
		}
	}
	if strings.Contains(string(packets), "secret") {
		t.Error("the secret key is published")
	}
}

func TestWeakAndUnknownKeysAreRefused(t *testing.T) {
	home := shortDir(t)
	gpg(t, home, "--quick-generate-key", "--passphrase", "", "short", "rsa2048", "sign", "never")
	gpg(t, home, "--cert-digest-algo", "SHA1", "--allow-weak-digest-algos", "--quick-generate-key", "--passphrase", "", "old", "ed25519", "sign", "never")
	for key, want := range map[string]string{"short": "is weak", "old": "SHA-1", "nobody": "no secret key"} {
		out, err := aptRepo("GNUPGHOME="+home, "KEY="+key).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("key %s: %v\n%s", key, err, out)
		}
	}
	gpg(t, home, "--quick-generate-key", "--passphrase", "", "good", "ed25519", "sign", "never")
	out, err := aptRepo("GNUPGHOME="+home, "KEY=good", "NEXT_KEY=absent").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no key absent") {
		t.Errorf("the next key is not there: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dist, "apt/dists/trixie/InRelease")); err != nil {
		t.Errorf("the repository that was there is gone: %v", err)
	}
}

// A new key reaches hosts by an upgrade that the old one signs.
func TestNextKeyIsTrustedBeforeItSigns(t *testing.T) {
	home, again := shortDir(t), filepath.Join(t.TempDir(), "dist")
	gpg(t, home, "--quick-generate-key", "--passphrase", "", "old", "ed25519", "sign", "never")
	gpg(t, home, "--quick-generate-key", "--passphrase", "", "new", "rsa4096", "sign", "never")
	if err := os.CopyFS(again, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, next, algorithm string }{{"old", "new", "22"}, {"new", "", "1"}} {
		out, err := aptRepo("GNUPGHOME="+home, "DIST="+again, "KEY="+c.key, "NEXT_KEY="+c.next).CombinedOutput()
		if err != nil || strings.Contains(string(out), "THROWAWAY") {
			t.Fatalf("%v\n%s", err, out)
		}
		if c.next != "" { // what hosts have from then on
			if err := os.Rename(filepath.Join(again, "apt/raid-archive-keyring.gpg"), filepath.Join(again, "known.gpg")); err != nil {
				t.Fatal(err)
			}
		}
		out, err = exec.CommandContext(t.Context(), "gpg", "--status-fd", "1", "--no-default-keyring", "--keyring", filepath.Join(again, "known.gpg"),
			"--verify", filepath.Join(again, "apt/dists/trixie/InRelease")).CombinedOutput()
		if err != nil || !regexp.MustCompile(`VALIDSIG \S+ \S+ \d+ \d+ \d+ \d+ `+c.algorithm+` 10 `).Match(out) {
			t.Errorf("signed with the %s key: %v\n%s", c.key, err, out)
		}
	}
}

// The key may change and the hosts must get the new one, so the package is as its
// key is, and nothing else.
func TestKeyringPackageHasTheKeyAndThePin(t *testing.T) {
	deb := filepath.Join(dist, "raid-archive-keyring_"+version+"-1_all.deb")
	first := read(t, deb)
	tree := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-x", deb, tree).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if read(t, filepath.Join(tree, "usr/share/keyrings/raid-archive-keyring.gpg")) != read(t, filepath.Join(dist, "apt/raid-archive-keyring.gpg")) {
		t.Error("the package has another key than the repository")
	}
	if pref := read(t, filepath.Join(tree, "etc/apt/preferences.d/raidpi.pref")); pref != "Package: *\nPin: release o=raidpi\nPin-Priority: 100\n" {
		t.Errorf("%q", pref)
	}
	before := read(t, filepath.Join(dist, "apt/raid-archive-keyring.gpg"))
	if out, err := aptRepo().CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if read(t, deb) != first || read(t, filepath.Join(dist, "apt/raid-archive-keyring.gpg")) != before {
		t.Error("made again with the same key, the package or the key is another")
	}
}

func TestKeyringPackageIsAsDebianWantsIt(t *testing.T) {
	deb := filepath.Join(dist, "raid-archive-keyring_"+version+"-1_all.deb")
	for _, words := range [][]string{
		{"lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", "initial-upload-closes-no-bugs", deb},
		{"dpkg-deb", "-c", deb},
	} {
		out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
		if err != nil || words[0] == "lintian" && strings.Contains(string(out), ": ") {
			t.Errorf("%s: %v\n%s", words[0], err, out)
		}
		if words[0] == "lintian" {
			continue
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "drwxr-xr-x root/root ") && !strings.HasPrefix(line, "-rw-r--r-- root/root ") {
				t.Errorf("it has %s", line)
			}
		}
	}
}

func TestMissingPackageIsNamed(t *testing.T) {
	out, err := aptRepo("ARCHS=amd64 armhf").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "raid-controller_"+version+"-1_armhf.deb") {
		t.Errorf("%v\n%s", err, out)
	}
}

// find lists the files whose names, up to an extension, are like pattern.
func find(t *testing.T, dir, pattern string) []string {
	t.Helper()
	name := regexp.MustCompile(`^(.*\.)?(In)?(` + pattern + `)(\.(gz|xz))?$`)
	var found []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && name.MatchString(e.Name()) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no file like %s: %v", pattern, err)
	}
	return found
}

// spoil changes one bit in the middle of a file.
func spoil(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// spoilSignature changes one digit of the signature itself, and takes its checksum away,
// by which gpg would see that before. What is signed stays as it is.
func spoilSignature(t *testing.T, path string) {
	t.Helper()
	parts := regexp.MustCompile(`(?s)^(.*-----BEGIN PGP SIGNATURE-----\n\n.*)(.)(.{9}\n[^\n]+)\n=....(\n-----END PGP SIGNATURE-----\n)$`).FindStringSubmatch(read(t, path))
	if parts == nil {
		t.Fatalf("%s has no signature", path)
	}
	digit := "A"
	if parts[2] == digit {
		digit = "B"
	}
	if err := os.WriteFile(path, []byte(parts[1]+digit+parts[3]+parts[4]), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shortDir is a home for gpg, whose agent's socket must have a short name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop := exec.Command("gpgconf", "--kill", "all")
		stop.Env = append(os.Environ(), "GNUPGHOME="+dir)
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("end gpg's agent: %v\n%s", err, out)
		}
		os.RemoveAll(dir)
	})
	return dir
}

func gpg(t *testing.T, home string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "gpg", append([]string{"--homedir", home, "--batch", "--yes", "--quiet"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gpg %q: %v\n%s", args, err, out)
	}
}
