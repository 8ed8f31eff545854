package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNodeIsStoredAndLoaded(t *testing.T) {
	ca := newCAFor(t, array)
	id := newNodeID(t)
	n, dir := joined(t, ca, id)
	again := must(LoadNode(dir, Machine{1}))(t)
	for _, n := range []*Node{n, again} {
		if n.ID() != id || n.Array() != array || n.Pin() != ca.Pin() {
			t.Errorf("node %s of array %s, pin %s", n.ID(), n.Array(), n.Pin())
		}
	}
	if n.Key() != again.Key() {
		t.Error("another key was loaded")
	}
	entries := must(os.ReadDir(dir))(t)
	if len(entries) != 1 || must(entries[0].Info())(t).Mode() != 0o600 {
		t.Errorf("files: %v", entries)
	}
}

func TestNodeThatHasNotJoined(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadNode(dir, Machine{}); !errors.Is(err, ErrNotJoined) || !strings.Contains(err.Error(), "raid-node join") {
		t.Errorf("%v", err)
	}
	must(Prepare(dir, Machine{}))(t)
	if _, err := LoadNode(dir, Machine{}); !errors.Is(err, ErrNotJoined) {
		t.Errorf("with a key alone: %v", err)
	}
}

func TestCloneIsNoticed(t *testing.T) {
	_, dir := joined(t, newCAFor(t, array), newNodeID(t))
	if _, err := LoadNode(dir, Machine{2}); !errors.Is(err, ErrClone) || !strings.Contains(err.Error(), "reset-identity") {
		t.Errorf("%v", err)
	}
	must(LoadNode(dir, Machine{}))(t) // a machine that does not know what it is
	a, b := MachineOf("0123\n"), MachineOf("0124")
	if a == b || a != MachineOf("0123") || MachineOf(" \n") != (Machine{}) || bytes.Contains(a[:], []byte("0123")) {
		t.Error("machines are mixed up")
	}
}

// Asking again, after a join that broke off, asks for the same key.
func TestPreparingTwiceKeepsTheKey(t *testing.T) {
	dir := t.TempDir()
	a, b := must(Prepare(dir, Machine{1}))(t), must(Prepare(dir, Machine{1}))(t)
	if a.Key() != b.Key() {
		t.Error("the second request is for another key")
	}
	if c := must(Prepare(dir, Machine{2}))(t); c.Key() == a.Key() {
		t.Error("a clone asks with the original's key")
	}
}

func TestRotationReplacesTheKeyAtOnce(t *testing.T) {
	ca := newCAFor(t, array)
	id := newNodeID(t)
	old, dir := joined(t, ca, id)
	r := must(Prepare(dir, Machine{1}))(t)
	if r.Key() == old.Key() {
		t.Fatal("the new key is the old one")
	}
	if n := must(LoadNode(dir, Machine{1}))(t); n.Key() != old.Key() {
		t.Error("the new key is used before it has a certificate")
	}
	next := must(r.Complete(issued(t, ca, r, id), ca.Certificate(), old.Pin().Short()))(t)
	loaded := must(LoadNode(dir, Machine{1}))(t)
	if next.Key() != r.Key() || loaded.Key() != r.Key() || loaded.ID() != id {
		t.Error("the new key is not used")
	}
	for _, n := range []*Node{old, next} { // open programs go on, until their next start
		if s, c := meet(t, serverOf(t, ca), n.ClientTLS()); s.err != nil || c.err != nil || KeyOf(s.state) != n.Key() {
			t.Errorf("%v, %v", s.err, c.err)
		}
	}
}

// The process dies after the swap, before the key's first copy is removed.
func TestRotationThatBrokeOffAfterTheSwapIsOver(t *testing.T) {
	ca := newCAFor(t, array)
	id := newNodeID(t)
	_, dir := joined(t, ca, id)
	r := must(Prepare(dir, Machine{1}))(t)
	rest := must(os.ReadFile(filepath.Join(dir, nextFile)))(t)
	must(r.Complete(issued(t, ca, r, id), ca.Certificate(), ca.Pin().Short()))(t)
	if err := os.WriteFile(filepath.Join(dir, nextFile), rest, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := must(LoadNode(dir, Machine{1}))(t); n.Key() != r.Key() {
		t.Error("the new key is not used")
	}
	if again := must(Prepare(dir, Machine{1}))(t); again.Key() == r.Key() {
		t.Error("the next rotation is to the current key")
	}
}

func TestAnswersThatDoNotFitChangeNothing(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	id := newNodeID(t)
	old, dir := joined(t, ca, id)
	r, another := must(Prepare(dir, Machine{1}))(t), must(Prepare(t.TempDir(), Machine{1}))(t)
	controller := must(ca.IssueController(rand.Reader))(t).Certificate[0]
	pin := ca.Pin().Short()
	tmpl := must(template(name{"another", roleNode, id}, "test", rand.Reader))(t)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	misnamed := must(sign(rand.Reader, tmpl, ca.cert, r.next.key.Public(), ca.key))(t).Raw
	for _, c := range []struct {
		what     string
		cert, ca []byte
		pin      ShortPin
		want     error
	}{
		{"wrong pin", issued(t, other, r, id), other.Certificate(), pin, ErrWrongPin},
		{"signed by another CA", issued(t, other, r, id), ca.Certificate(), pin, ErrStranger},
		{"another key's", issued(t, ca, another, id), ca.Certificate(), pin, ErrForeign},
		{"the controller's", controller, ca.Certificate(), pin, ErrForeign},
		{"another node's", issued(t, ca, r, newNodeID(t)), ca.Certificate(), pin, ErrForeign},
		{"another array's", issued(t, other, r, id), other.Certificate(), other.Pin().Short(), ErrForeign},
		{"a node's certificate for the CA's", issued(t, ca, r, id), old.own.certs[0].Raw, PinOf(old.own.certs[0]).Short(), ErrRole},
		{"with a name of another array", misnamed, ca.Certificate(), pin, ErrForeign},
		{"garbage", []byte("x"), ca.Certificate(), pin, ErrDamaged},
		{"garbage for the CA's", issued(t, ca, r, id), nil, pin, ErrDamaged},
	} {
		if _, err := r.Complete(c.cert, c.ca, c.pin); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if n := must(LoadNode(dir, Machine{1}))(t); n.Key() != old.Key() {
			t.Fatalf("%s: it was taken", c.what)
		}
	}
	must(r.Complete(issued(t, ca, r, id), ca.Certificate(), pin))(t)
	if err := Forget(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Complete(misnamed, ca.Certificate(), pin); !errors.Is(err, ErrForeign) {
		t.Errorf("with a name of another array, at a first join: %v", err)
	}
}

func TestTornNodeFilesAreRefusedAndKept(t *testing.T) {
	ca := newCAFor(t, array)
	id := newNodeID(t)
	_, dir := joined(t, ca, id)
	r := must(Prepare(dir, Machine{1}))(t)
	for _, file := range []string{nodeFile, nextFile} {
		path := filepath.Join(dir, file)
		whole := must(os.ReadFile(path))(t)
		for n := 0; n < len(whole); n += 7 {
			if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadNode(dir, Machine{1})
			if file == nextFile {
				_, err = Prepare(dir, Machine{1})
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%s cut to %d bytes: %v", file, n, err)
			}
			noKey(t, err, whole)
			if left := must(os.ReadFile(path))(t); !bytes.Equal(left, whole[:n]) {
				t.Fatalf("%s cut to %d bytes was replaced", file, n)
			}
			if file == nodeFile {
				if _, err := r.Complete(issued(t, ca, r, id), ca.Certificate(), ca.Pin().Short()); !errors.Is(err, ErrDamaged) {
					t.Fatalf("a torn identity was replaced: %v", err)
				}
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := LoadNode(dir, Machine{1})
		if file == nextFile {
			_, err = Prepare(dir, Machine{1})
		}
		if !errors.Is(err, ErrExposed) {
			t.Errorf("%s of mode 0644: %v", file, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must(LoadNode(dir, Machine{1}))(t)
}

func TestForgottenNodeHasNotJoined(t *testing.T) {
	_, dir := joined(t, newCAFor(t, array), newNodeID(t))
	must(Prepare(dir, Machine{1}))(t)
	for range 2 {
		if err := Forget(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadNode(dir, Machine{1}); !errors.Is(err, ErrNotJoined) {
		t.Errorf("%v", err)
	}
	if entries := must(os.ReadDir(dir))(t); len(entries) != 0 {
		t.Errorf("files left: %v", entries)
	}
	if err := Forget(filepath.Join(dir, "missing")); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}

func TestSameKeyIsCertifiedAgain(t *testing.T) {
	ca := newCAFor(t, array)
	n, dir := joined(t, ca, newNodeID(t))
	r := must(Again(dir, Machine{1}))(t)
	if r.Key() != n.Key() {
		t.Error("it is another key")
	}
	again := must(r.Complete(issued(t, ca, r, n.ID()), ca.Certificate(), ca.Pin().Short()))(t)
	if loaded := must(LoadNode(dir, Machine{1}))(t); loaded.Key() != n.Key() || again.ID() != n.ID() || bytes.Equal(loaded.own.certs[0].Raw, n.own.certs[0].Raw) {
		t.Error("the new certificate is not in use")
	}
	if _, err := Again(t.TempDir(), Machine{1}); !errors.Is(err, ErrNotJoined) {
		t.Errorf("%v", err)
	}
	if _, err := Again(dir, Machine{2}); !errors.Is(err, ErrClone) {
		t.Errorf("%v", err)
	}
}
