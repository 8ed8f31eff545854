package catalog

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

func withSpare(path string) Config {
	cfg := config(path)
	cfg.Ballast = filepath.Join(filepath.Dir(path), "spare-room")
	return cfg
}

// The power may go between the making of the file and that of its room.
func TestSpareRoomThatHasNoneIsMadeAnew(t *testing.T) {
	cfg := withSpare(filepath.Join(t.TempDir(), "catalog.db"))
	must(t, os.WriteFile(cfg.Ballast, nil, 0o600))
	openWith(t, cfg, options{})
	if st, err := os.Stat(cfg.Ballast); err != nil || st.Size() != ballastBytes {
		t.Errorf("%v, %v", st, err)
	}
}

func TestSpareRoomWithoutBlocksIsMadeAnew(t *testing.T) {
	cfg := withSpare(filepath.Join(t.TempDir(), "catalog.db"))
	f, err := os.Create(cfg.Ballast)
	must(t, err)
	must(t, errors.Join(f.Truncate(ballastBytes), f.Close())) // as a copy that leaves out zeros
	openWith(t, cfg, options{})
	st, err := os.Stat(cfg.Ballast)
	must(t, err)
	if blocks := st.Sys().(*syscall.Stat_t).Blocks; blocks*512 < ballastBytes {
		t.Errorf("it has %d blocks", blocks)
	}
}

// A card lives longer when it is left alone.
func TestSpareRoomIsMadeOnce(t *testing.T) {
	cfg := withSpare(filepath.Join(t.TempDir(), "catalog.db"))
	must(t, openWith(t, cfg, options{}).Close())
	first, err := os.Stat(cfg.Ballast)
	must(t, err)
	must(t, openWith(t, cfg, options{}).Close())
	second, err := os.Stat(cfg.Ballast)
	must(t, err)
	if !os.SameFile(first, second) || !first.ModTime().Equal(second.ModTime()) {
		t.Error("it was made anew")
	}
}

// It must not be what stops uploads.
func TestSpareRoomIsMadeOnlyWhereThereIsRoom(t *testing.T) {
	cfg := withSpare(filepath.Join(t.TempDir(), "catalog.db"))
	free, err := space(cfg.Path)
	must(t, err)
	cfg.Reserve = free
	openWith(t, cfg, options{})
	if exists(cfg.Ballast) {
		t.Error("it was made of what the reserve needs")
	}
}

// childOnAFullDisk deletes, abandons and revokes on a disk that others have filled.
// There is more of it than the log takes.
func childOnAFullDisk(path string) int {
	disk := filepath.Dir(path)
	filler := filepath.Join(disk, "filler")
	err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), os.Mkdir(disk, 0o700),
		unix.Mount("tmpfs", disk, "tmpfs", 0, "size=80m"))
	if err != nil {
		fmt.Println("error:", err)
		return 2
	}
	for i, moment := range []string{"while it runs", "before it starts"} {
		err := func() (err error) {
			var c *Catalog
			defer func() { err = errors.Join(err, c.Close()) }()
			if c, err = Open(bg, withSpare(path)); err != nil {
				return err
			}
			stored, err := storeForDeletes(c, 400-300*i) // the first alone fill the log
			if err != nil {
				return err
			}
			if i == 1 {
				err = c.Close()
			}
			if err = errors.Join(err, fillDisk(filler)); err != nil {
				return err
			}
			if i == 1 {
				if c, err = Open(bg, withSpare(path)); err != nil {
					return err
				}
			}
			return stored.undo(c)
		}()
		fmt.Printf("filled %s: %v\n", moment, err)
		if err := os.Remove(filler); err != nil {
			fmt.Println("error:", err)
			return 2
		}
	}
	return 0
}

// fillDisk takes what is free, to the last block.
func fillDisk(filler string) error {
	free, err := space(filler)
	if err != nil {
		return err
	}
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, free), f.Close())
}

// undoable is what a full catalog must be able to forget.
type undoable struct {
	files []raid.FileID
	begun raid.File
	token string
}

func storeForDeletes(c *Catalog, files int) (u undoable, err error) {
	var fins []raid.FinishedUpload
	for range files {
		fin, err := makeFile(c, 2)
		if err != nil {
			return u, err
		}
		fins = append(fins, fin)
		u.files = append(u.files, fin.File.ID)
	}
	err = c.write(bg, &op{name: "store all", rows: 1, run: func(t *tx) (err error) {
		for i := range fins {
			err = errors.Join(err, c.finish(t, &fins[i], 0))
		}
		return err
	}})
	if err != nil {
		return u, err
	}
	fin, err := makeFile(c, 3)
	if err == nil {
		u.begun = fin.File
		err = errors.Join(c.Begin(bg, fin.File), c.Append(bg, fin.File.ID, fin.Parts))
	}
	id, _, sum, tokenErr := raid.NewAccessToken(rand.Reader)
	u.token = id
	if err = cmp.Or(err, tokenErr); err == nil {
		_, err = c.CreateToken(bg, raid.AccessToken{ID: id, Name: id, Scope: raid.ScopeRead, SHA256: sum}, 0)
	}
	return u, err
}

// undo forgets it, while uploads take nothing of the room for that.
func (u undoable) undo(c *Catalog) error {
	err := errors.Join(c.RevokeToken(bg, u.token), c.Abandon(bg, u.begun, nil))
	for i, id := range u.files {
		if err != nil {
			return err
		}
		if err = c.Delete(bg, id); i%3 != 0 {
			continue
		}
		if _, sweepErr := c.Sweep(bg, 1000); err == nil {
			err = sweepErr
		}
		fin, _ := makeFile(c, 1)
		if _, upload := c.Finish(bg, fin); !errors.Is(upload, raid.ErrNoSpace) {
			return fmt.Errorf("an upload on the full disk: %w", cmp.Or(upload, errors.New("stored")))
		}
	}
	pages := 0
	look := &op{name: "look at the log", rows: 1, run: func(*tx) error { pages = c.writer.logged; return nil }}
	if err = errors.Join(err, c.write(bg, look)); err == nil && len(u.files) >= 400 && pages < checkpointPages {
		err = fmt.Errorf("only %d pages went through the log", pages)
	}
	return err
}
