//go:build system

package repository

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// For people who go back, and
// whose machine is another.
func TestEarlierVersionsAndEachArchitectureAreInTheIndexes(t *testing.T) {
	const earlier = "9.8.6"
	for _, name := range packages {
		for _, p := range []struct{ version, arch string }{{version, "arm64"}, {earlier, "amd64"}, {earlier, "arm64"}} {
			if err := makePackage(dist, name, p.version, p.arch); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := anotherDist(t)
	if out, err := aptRepo("DIST="+again, "ARCHS=amd64 arm64", "OTHERS="+earlier).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, suite := range []string{"bookworm", "trixie"} {
		for arch, other := range map[string]string{"amd64": "arm64", "arm64": "amd64"} {
			index := read(t, filepath.Join(again, "apt/dists", suite, "main/binary-"+arch, "Packages"))
			for _, name := range packages {
				for _, v := range []string{version, earlier} {
					file := "pool/main/" + name + "/" + name + "_" + v + "-1_" + arch + ".deb"
					if !strings.Contains(index, "\nFilename: "+file+"\n") {
						t.Errorf("%s: the index for %s lacks %s", suite, arch, file)
					}
					if _, err := os.Stat(filepath.Join(again, "apt", file)); err != nil {
						t.Error(err)
					}
				}
			}
			if strings.Contains(index, "Architecture: "+other) {
				t.Errorf("%s: the index for %s has packages for %s", suite, arch, other)
			}
		}
	}
}

// A repository of one architecture gets another.
func TestAnArchitectureIsAddedLater(t *testing.T) {
	again := anotherDist(t)
	for _, archs := range []string{"amd64", "amd64 arm64"} {
		for _, name := range packages {
			if err := makePackage(again, name, version, "arm64"); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := aptRepo("DIST="+again, "ARCHS="+archs).CombinedOutput(); err != nil {
			t.Fatalf("ARCHS=%q: %v\n%s", archs, err, out)
		}
	}
	for _, suite := range []string{"bookworm", "trixie"} {
		if index := read(t, filepath.Join(again, "apt/dists", suite, "main/binary-arm64/Packages")); strings.Count(index, "Architecture: arm64") != len(packages) {
			t.Errorf("%s: the index for arm64 is\n%s", suite, index)
		}
	}
}

// Whoever makes it, a web server that is somebody else reads all of it, and nobody
// else the secret key.
func TestRepositoryIsForEverybodyAndItsSecretKeyForNobody(t *testing.T) {
	for umask, sh := range map[string]string{"077": "umask 077", "000": "umask 000"} {
		again := anotherDist(t)
		script := aptRepo("DIST=" + again)
		script.Args = []string{"sh", "-c", sh + " && exec packaging/apt-repo"}
		script.Path = "/bin/sh"
		if out, err := script.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		mode := func(path string) fs.FileMode {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			return info.Mode().Perm()
		}
		key := filepath.Join(again, "key")
		if mode(key) != 0o700 || mode(filepath.Join(key, "throwaway.pgp")) != 0o600 {
			t.Errorf("umask %s: the secret key has the mode %o, in a folder of %o", umask, mode(filepath.Join(key, "throwaway.pgp")), mode(key))
		}
		err := filepath.WalkDir(filepath.Join(again, "apt"), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			want := fs.FileMode(0o644)
			if e.IsDir() {
				want = 0o755
			}
			if got := mode(path); got != want {
				t.Errorf("umask %s: %s has the mode %o", umask, path, got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAThrowawayKeyThatWasNotWrittenWholeIsMadeAnew(t *testing.T) {
	again := anotherDist(t)
	for name, text := range map[string]string{"throwaway.pgp": "", "throwaway.pgp.new": "half"} {
		if err := os.MkdirAll(filepath.Join(again, "key"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(again, "key", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := aptRepo("DIST=" + again).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if read(t, filepath.Join(again, "key/throwaway.pgp")) == "" {
		t.Error("it is empty still")
	}
}

// gpg makes one by default beside the key that signs.
func TestASubkeyForEncryptionIsNoReasonToRefuseAKey(t *testing.T) {
	home, again := shortDir(t), anotherDist(t)
	gpg(t, home, "--quick-generate-key", "--passphrase", "", "both", "ed25519", "cert,sign", "never")
	list := exec.CommandContext(t.Context(), "gpg", "--homedir", home, "--batch", "--with-colons", "--list-secret-keys", "both")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "\nfpr:::::::::")
	finger, _, _ := strings.Cut(rest, ":")
	gpg(t, home, "--passphrase", "", "--quick-add-key", finger, "cv25519", "encr", "never")
	if out, err := aptRepo("GNUPGHOME="+home, "DIST="+again, "KEY=both").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	gpg(t, home, "--passphrase", "", "--quick-add-key", finger, "rsa2048", "sign", "never")
	if out, err := aptRepo("GNUPGHOME="+home, "DIST="+again, "KEY=both").CombinedOutput(); err == nil || !strings.Contains(string(out), "is weak") {
		t.Errorf("a weak subkey that signs: %v\n%s", err, out)
	}
}

// anotherDist has the packages, and no repository or key yet.
func anotherDist(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	if err := os.CopyFS(dir, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"apt", "key"} {
		if err := os.RemoveAll(filepath.Join(dir, made)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
