package controller

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// card is a small disk for the controller alone.
func card(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Fatalf("mount a tmpfs (this test runs as root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillCard takes all that is free.
func fillCard(t *testing.T, dir string) {
	t.Helper()
	f, err := os.CreateTemp(dir, "fills-it")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// Files can be read, deleted and forgotten on a full card, and tokens revoked: that is
// how there comes to be room, and how a stranger is kept out.
func TestAFullCardKeepsNobodyFromDeleting(t *testing.T) {
	for name, fill := range map[string]func(a *array, dir string){
		"it fills up in an upload": func(a *array, dir string) {
			body, upload := io.Pipe()
			refused := make(chan int, 1)
			go func() {
				defer close(refused) // also when the test fails there
				s, _ := a.tryUpload(body)
				refused <- s
			}()
			_, _ = upload.Write(randomBytes(600_000))
			a.eventually("its first chunks are stored", func() bool { return a.totalChunks() > 8 })
			fillCard(t, dir)
			if _, err := upload.Write(randomBytes(2 << 20)); err == nil {
				upload.Close()
			}
			if s := <-refused; s != http.StatusInsufficientStorage {
				t.Errorf("an upload on a full card: %d", s)
			}
		},
		"it is full at the start": func(a *array, dir string) {
			a.stopController()
			fillCard(t, dir)
			a.startController()
			a.awaitUp(2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := card(t)
			a := newArray(t, 2, func(c *Config) { c.StateDir = dir })
			b := randomBytes(5000)
			gone, kept := a.upload(b).ID, a.upload(b).ID
			status, text := a.root("POST", "/access-tokens", `{"name": "lost", "scope": "read"}`)
			var token struct{ ID string }
			if err := json.Unmarshal([]byte(text), &token); err != nil || status != http.StatusCreated {
				t.Fatalf("%d %s", status, text)
			}
			fill(a, dir)
			if s := a.delete(gone); s != http.StatusOK {
				t.Errorf("delete: %d", s)
			}
			if s, text := a.root("DELETE", "/access-tokens/"+token.ID, ""); s != http.StatusOK {
				t.Errorf("revoke: %d %s", s, text)
			}
			a.eventually("the chunks of one file are left", func() bool { return a.totalChunks() == 4 })

			a.stopController()
			fillCard(t, dir) // by others, to the last byte
			a.startController()
			a.awaitUp(2)
			a.mustEqual(kept, b)
		})
	}
}
