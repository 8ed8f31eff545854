package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// beside is each file in a folder, with its size and when it was written.
func beside(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			all = append(all, strings.Join([]string{path, info.Mode().String(), info.ModTime().Format(time.StampNano)}, " "))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// It would be a new array, to which all nodes and their chunks are strangers.
func TestControllerWhoseCatalogIsGoneMakesNoNewArray(t *testing.T) {
	for name, lose := range map[string]func(string) error{
		"missing": os.Remove,
		"empty":   func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stopped(t, dir)
			path := filepath.Join(dir, "catalog.db")
			kept, err := os.ReadFile(path)
			if err == nil {
				err = lose(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := beside(t, dir)
			refuses := func(args []string, says ...string) {
				t.Helper()
				m := manage(t, args, "RAID_CONTROLLER_STATE_DIR="+dir)
				if got := m.Ends(); got != 78 || m.Count("READY") > 0 || strings.Contains(m.Status, "--new-ca") {
					t.Errorf("status %d, %q", got, m.Status)
				}
				for _, want := range append(says, "the catalog is gone", "Put a backup", "sudo mv "+dir+"/identity "+dir+"/identity.aside && sudo systemctl start raid-controller") {
					if !strings.Contains(m.Status, want) {
						t.Errorf("%q is missing in %q", want, m.Status)
					}
				}
			}
			for _, args := range [][]string{nil, {"--new-ca"}, {"--give-up-commit", "5"}} {
				refuses(args, "No copy")
				if after := beside(t, dir); !slices.Equal(after, before) {
					t.Errorf("%v: the folder was\n%q and is\n%q", args, before, after)
				}
			}
			// The version is at an offset of SQLite's header: 60, big-endian.
			version := filepath.Join(dir, "catalog.db.v"+strconv.Itoa(int(kept[63])))
			if err := os.WriteFile(version, kept, 0o600); err != nil {
				t.Fatal(err)
			}
			refuses(nil, "sudo mv "+version+" "+path+" && ", "(0 files, commit ")
			if err := os.Rename(version, path); err != nil {
				t.Fatal(err)
			}
			stopped(t, dir) // as the message says

			if err := errors.Join(os.Remove(path), os.Rename(filepath.Join(dir, "identity"), filepath.Join(dir, "identity.aside"))); err != nil {
				t.Fatal(err)
			}
			stopped(t, dir) // as a new array
		})
	}
}
