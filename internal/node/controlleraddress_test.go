package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A power cut after joining finds where the controller is.
func TestPlaceIsOnDiskBeforeItCounts(t *testing.T) {
	defer func() { fsync = (*os.File).Sync }()
	dir := t.TempDir()
	var synced []string
	fsync = func(f *os.File) error {
		_, err := os.Stat(filepath.Join(dir, addressFile))
		what := filepath.Base(f.Name())
		if f.Name() == dir {
			what = "folder"
		}
		if err == nil {
			what += ", named"
		}
		synced = append(synced, what)
		return f.Sync()
	}
	want := ControllerAddress{Host: "controller.local", HTTPPort: 9000, StorePort: 5557, ResponsePort: 5558, RequestPort: 5559}
	if err := writeAddress(dir, want); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(synced, []string{addressFile + ".new", "folder, named"}) {
		t.Errorf("fsynced %q", synced)
	}
	if got, err := readAddress(dir); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	synced = nil
	if err := forgetAddress(dir); err != nil || !slices.Equal(synced, []string{"folder"}) {
		t.Errorf("forgotten: %q, %v", synced, err)
	}
}
