package faultfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
)

func create(t *testing.T, f *faultfs.FS, name, content string, sync bool) {
	t.Helper()
	file, err := f.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write([]byte(content))
	if sync {
		err = errors.Join(err, file.Sync())
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t *testing.T, f *faultfs.FS, name string) {
	t.Helper()
	d, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestPowerCutLosesWhatWasNotFsynced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	f, err := faultfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.Mkdir("sub", 0o750))
	create(t, f, "sub/kept", "kept", true)
	create(t, f, "sub/empty", "never fsynced", false)
	create(t, f, "sub/gone", "its entry was not fsynced", true)
	must(f.Rename("sub/gone", "sub/moved"))
	syncDir(t, f, "sub")
	must(f.Rename("sub/moved", "moved"))
	syncDir(t, f, ".")
	must(f.Remove("old"))
	create(t, f, "new", "new", true)

	must(f.Recover(faultfs.Everything()))
	want := map[string]string{
		"old": "old", "sub/kept": "kept", "sub/empty": "",
		"moved": "its entry was not fsynced", "sub/moved": "its entry was not fsynced",
	}
	must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		must(err)
		b, err := os.ReadFile(path)
		must(err)
		if content, ok := want[name]; !ok || content != string(b) {
			t.Errorf("found %s with %q, want %q (%v)", name, b, content, ok)
		}
		delete(want, name)
		return nil
	}))
	if len(want) != 0 {
		t.Errorf("lost: %v", want)
	}
}

func TestNothingWorksWithoutPower(t *testing.T) {
	f, err := faultfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := f.OpenFile("a", os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f.CutPowerBefore(2)
	if _, err := file.Write(nil); err != nil {
		t.Fatal(err)
	}
	_, opened := f.OpenFile("a", os.O_RDONLY, 0)
	if opened != nil {
		t.Fatal(opened)
	}
	for what, err := range map[string]error{
		"fsync": file.Sync(), "mkdir": f.Mkdir("d", 0), "rename": f.Rename("a", "b"), "remove": f.Remove("a"),
	} {
		if !errors.Is(err, faultfs.ErrPower) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.Usage(); !errors.Is(err, faultfs.ErrPower) {
		t.Error(err)
	}
}

var _ chunkstore.FS = (*faultfs.FS)(nil)
