package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noKey fails when an error tells something of a file's content.
func noKey(t *testing.T, err error, content []byte) {
	t.Helper()
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "-") && len(line) >= 8 && strings.Contains(err.Error(), line[:8]) {
			t.Errorf("the error tells content: %v", err)
		}
	}
}

func TestCAIsMadeOnceAndLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	ca := must(OpenCA(dir, array, rand.Reader))(t)
	again := must(OpenCA(dir, array, rand.Reader))(t)
	if ca.Pin() != again.Pin() || !bytes.Equal(ca.Certificate(), again.Certificate()) || again.Array() != array {
		t.Error("the second start has another CA")
	}
	info := must(os.Stat(filepath.Join(dir, caFile)))(t)
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	entries := must(os.ReadDir(dir))(t)
	if len(entries) != 1 {
		t.Errorf("files left: %v", entries)
	}
	c := ca.cert
	if !c.NotBefore.Equal(time.Unix(0, 0)) || c.NotAfter.Format(time.RFC3339) != "9999-12-31T23:59:59Z" {
		t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	if !c.IsCA || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign || c.SerialNumber.BitLen() > 128 {
		t.Errorf("certificate: %+v", c)
	}
	var spki asn1.RawValue
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil || ca.Pin() != PinOf(c) || len(ca.Pin().String()) != 64 {
		t.Error("the pin is not that of the key")
	}
}

func TestPrintingKeepsKeys(t *testing.T) {
	ca := newCAFor(t, array)
	n, dir := joined(t, ca, newNodeID(t))
	r := must(Prepare(dir, Machine{}))(t)
	type inside struct {
		ca *CA
		n  *Node
		r  *Request
		x  any
	}
	for _, key := range []*ecdsa.PrivateKey{ca.key, n.own.key, r.next.key} {
		raw := must(key.Bytes())(t)
		d := new(big.Int).SetBytes(raw)
		for _, thing := range []any{ca, *ca, n, *n, r, *r, inside{ca, n, r, ca}, &inside{ca, n, r, *r}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				out := fmt.Sprintf(verb, thing)
				for _, secret := range []string{d.String(), d.Text(16), strings.Trim(fmt.Sprint(raw), "[]"), string(raw)} {
					if strings.Contains(strings.ToLower(out), secret) {
						t.Errorf("%s of %T prints a key", verb, thing)
					}
				}
			}
		}
	}
}

// A crash while the CA was first written left no CA that anybody has seen.
func TestRestOfAFirstWriteIsNotInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, caFile+newSuffix), []byte("-----BEGIN PRIV"), 0o444); err != nil {
		t.Fatal(err)
	}
	must(OpenCA(dir, array, rand.Reader))(t)
	if entries := must(os.ReadDir(dir))(t); len(entries) != 1 {
		t.Errorf("files left: %v", entries)
	}
}

func TestTornCAIsRefusedAndKept(t *testing.T) {
	dir := t.TempDir()
	must(OpenCA(dir, array, rand.Reader))(t)
	path := filepath.Join(dir, caFile)
	whole := must(os.ReadFile(path))(t)
	try := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenCA(dir, array, rand.Reader)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "put a copy of it back") {
			t.Fatalf("%s: %v", what, err)
		}
		noKey(t, err, whole)
		if left := must(os.ReadFile(path))(t); !bytes.Equal(left, content) {
			t.Fatalf("%s: the file was replaced", what)
		}
	}
	for n := range whole {
		try(fmt.Sprintf("cut to %d bytes", n), whole[:n])
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		try(fmt.Sprintf("byte %d changed", i), changed)
	}
	try("zeros", make([]byte, len(whole)))
	try("twice", append(bytes.Clone(whole), whole...))
	try("huge", bytes.Repeat([]byte("\n"), maxFile+1))
	other, node := joined(t, newCAFor(t, array), newNodeID(t))
	_ = other
	try("a node's", must(os.ReadFile(filepath.Join(node, nodeFile)))(t))
}

func TestCAOfAnotherArrayIsRefused(t *testing.T) {
	dir := t.TempDir()
	must(OpenCA(dir, "another", rand.Reader))(t)
	if _, err := OpenCA(dir, array, rand.Reader); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "another") {
		t.Errorf("%v", err)
	}
	if _, err := OpenCA(t.TempDir(), "no/name", rand.Reader); err == nil {
		t.Error("a CA was made for an array that can't be")
	}
	if _, err := OpenCA(t.TempDir(), array, bytes.NewReader(nil)); err == nil {
		t.Error("a CA was made without randomness")
	}
	if _, err := OpenCA(filepath.Join(t.TempDir(), "a", "b"), array, rand.Reader); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory whose parent is missing: %v", err)
	}
}

func TestKeysThatOthersMayReadAreRefused(t *testing.T) {
	dir := t.TempDir()
	must(OpenCA(dir, array, rand.Reader))(t)
	path := filepath.Join(dir, caFile)
	for _, mode := range []fs.FileMode{0o604, 0o640, 0o620, 0o602, 0o644, 0o666, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCA(dir, array, rand.Reader); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	must(OpenCA(dir, array, rand.Reader))(t)
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"named pipe":    func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"symbolic link": func(p string) error { return os.Symlink("/etc/passwd", p) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, caFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCA(dir, array, rand.Reader); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := writeSecret(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	// A directory with something in it can't be removed, so nothing can be written there.
	if err := os.MkdirAll(filepath.Join(path+newSuffix, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeSecret(path, []byte("new")); err == nil {
		t.Error("the write did not fail")
	}
	if got := must(readSecret(path))(t); string(got) != "old" {
		t.Errorf("the file is now %q", got)
	}
}

// A power cut at any moment finds the old file or the new one, and a key that
// counted is there.
func TestKeysAreFsyncedBeforeTheyCount(t *testing.T) {
	defer func() { fsync = (*os.File).Sync }()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var synced []string
	fsync = func(f *os.File) error {
		_, err := os.Stat(path)
		synced = append(synced, fmt.Sprintf("%s named %v", filepath.Base(f.Name()), err == nil))
		return f.Sync()
	}
	if err := writeSecret(path, []byte("key")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"f" + newSuffix + " named false", filepath.Base(dir) + " named true"}; !slices.Equal(synced, want) {
		t.Errorf("fsynced %q, want %q", synced, want)
	}
	// One that fails leaves what was there.
	fsync = func(*os.File) error { return syscall.EIO }
	if err := writeSecret(path, []byte("new")); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	if got := must(readSecret(path))(t); string(got) != "key" {
		t.Errorf("the file is now %q", got)
	}
}

func TestMembersHaveTheirOwnSerialNumbers(t *testing.T) {
	ca := newCAFor(t, array)
	seen := map[string]bool{ca.cert.SerialNumber.String(): true}
	for range 20 {
		c := must(ca.IssueController(rand.Reader))(t).Leaf
		if s := c.SerialNumber; s.Sign() <= 0 || s.BitLen() > 128 || seen[s.String()] {
			t.Errorf("serial number %v", s)
		}
		seen[c.SerialNumber.String()] = true
		if !c.NotBefore.Equal(forever0) || !c.NotAfter.Equal(forever1) || c.IsCA {
			t.Errorf("%+v", c)
		}
	}
	if s := must(newSerial(bytes.NewReader(make([]byte, 16))))(t); s.Sign() != 1 {
		t.Errorf("serial number %v", s)
	}
}
