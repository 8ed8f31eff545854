package controller

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// The power may go between the making of the file and that of its room.
func TestSpareRoomThatHasNoneIsMadeAnew(t *testing.T) {
	cfg := Config{StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	path := filepath.Join(cfg.StateDir, spareFile)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := giveRoom(&cfg); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != spareBytes {
		t.Errorf("%v, %v", st, err)
	}
}
