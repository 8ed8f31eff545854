package chunkstore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What the name leads out of the directory is not opened, however it is opened.
func TestNoNameLeadsOutOfTheDirectory(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	d := openDir(t, dir)
	for path, text := range map[string]string{filepath.Join(outside, "secret"): "secret", filepath.Join(dir, "in"): "in"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"file": filepath.Join(outside, "secret"), "folder": outside, "up": ".."} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "folder/secret", "folder/new", "../" + filepath.Base(outside) + "/secret", "up/x", filepath.Join(outside, "secret")} {
		for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREATE} {
			if f, err := d.OpenFile(name, flag, 0o600); err == nil {
				f.Close()
				t.Errorf("%s is opened with %#x", name, flag)
			}
		}
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 1 {
		t.Errorf("outside there are %d files, %v", len(names), err)
	}
}

// OpenFile's errors are those that callers ask for, also where it needs but one call.
func TestFilesAreOpenedAsAsked(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir)
	if _, err := d.OpenFile("none", os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := d.OpenFile("none/x", os.O_WRONLY|os.O_CREATE, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in a missing folder: %v", err)
	}
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	f, err := d.OpenFile("f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("12345")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	if _, err := d.OpenFile("f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "f")); err != nil || fi.Mode() != 0o640 || fi.Size() != 5 {
		t.Errorf("the file: %v, %v", fi, err)
	}
	if f, err = d.OpenFile("f", os.O_WRONLY|os.O_TRUNC, 0); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() != 0 {
		t.Errorf("the file is not cut short: %v, %v", fi, err)
	}
	if err := d.Rename("none", "g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a rename of a missing file: %v", err)
	}
}

// Somebody has put a link in a folder's place: what is stored there might be anywhere.
func TestNothingCountsAsStoredBehindASymbolicLink(t *testing.T) {
	s, dir := newStore(t)
	c, outside := newChunk(t, 100, 1), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, string(c.name()[:2]))); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), c.meta, c.payload); err == nil {
		t.Error("it is stored")
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
		t.Errorf("outside there are %d files, %v", len(names), err)
	}
}

// A rename leads out of the directory as little as an open does.
func TestNoFileIsMovedOutOfTheDirectory(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	d := openDir(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	for _, make := range []error{os.WriteFile(filepath.Join(dir, "in"), []byte("in"), 0o600), os.Mkdir(filepath.Join(dir, "sub"), 0o700)} {
		if make != nil {
			t.Fatal(make)
		}
	}
	if err := d.Rename("in", "folder/out"); err == nil {
		t.Error("it is moved through a symbolic link")
	}
	if err := d.Rename("in", "none/out"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
		t.Errorf("outside there are %d files, %v", len(names), err)
	}
	for _, move := range [][2]string{{"in", "sub/a"}, {"sub/a", "b"}} {
		if err := d.Rename(move[0], move[1]); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "b")); err != nil || string(b) != "in" {
		t.Errorf("%q, %v", b, err)
	}
}
