//go:build system

package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"golang.org/x/sys/unix"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// card is a small disk for the controller alone.
func card(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
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

// A full array whose trash holds something takes uploads: nobody is told that it is full.
func TestAFullArrayWithSomethingInTheTrashTakesUploads(t *testing.T) {
	a := newArray(t, 0, func(c *Config) { c.TrashKeep = time.Hour })
	for i := range 2 {
		dir := filepath.Join(a.dir, fmt.Sprintf("node%d", i+1))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	a.addNode("")
	a.addNode("")
	a.awaitUp(2)
	data := randomBytes(1 << 20)
	var stored []int64
	full := func() bool {
		status, i := a.tryUpload(bytes.NewReader(data))
		switch {
		case status == http.StatusCreated:
			stored = append(stored, i.ID)
		case status != http.StatusInsufficientStorage:
			t.Fatalf("upload: %d %+v", status, i)
		}
		return status == http.StatusInsufficientStorage
	}
	for n := 0; !full(); n++ {
		if n == 30 {
			t.Fatal("the disks are never full")
		}
	}
	for _, id := range stored[:5] {
		if s := a.delete(id); s != http.StatusOK {
			t.Fatalf("delete: %d", s)
		}
	}
	kept := stored[5:]
	for n := range 4 {
		if full() {
			t.Fatalf("upload %d of 4 found no room, and five files of its size were deleted", n+1)
		}
	}
	if s := a.undelete(stored[0]); s != http.StatusNotFound {
		t.Errorf("the oldest deleted file is still there: %d", s)
	}
	for _, id := range kept {
		a.mustEqual(id, data)
	}
}
