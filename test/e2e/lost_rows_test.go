package e2e

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // as "sqlite", to write a catalog behind raid-controller's back

	"github.com/raidpi/raidpi/test/cluster"
)

// rewrite changes the catalog of a controller that is stopped. The statements find the
// backup under the name before. What comes out is a sound database.
func (a *array) rewrite(backup string, statements ...string) {
	a.t.Helper()
	catalog := filepath.Join(a.Dir(), "controller", "catalog.db")
	written := filepath.Join(a.t.TempDir(), "catalog.db")
	a.change(catalog, backup, append(statements, fmt.Sprintf("VACUUM main INTO '%s'", written))...)
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Remove(catalog + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.t.Fatal(err)
		}
	}
	b, err := os.ReadFile(written)
	a.must(err)
	a.must(os.WriteFile(catalog, b, 0o600))
}

func (a *array) change(catalog, backup string, statements ...string) {
	a.t.Helper()
	db, err := sql.Open("sqlite", catalog)
	a.must(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("ATTACH ? AS before", backup)
	a.must(err)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			a.t.Fatalf("%s: %v", s, err)
		}
	}
}

// copyCatalog keeps a copy of the catalog of a controller that is stopped.
func (a *array) copyCatalog() (path string) {
	a.t.Helper()
	from, err := os.Open(filepath.Join(a.Dir(), "controller", "catalog.db"))
	a.must(err)
	defer from.Close()
	path = filepath.Join(a.t.TempDir(), "catalog.db")
	to, err := os.Create(path)
	a.must(err)
	defer to.Close()
	_, err = io.Copy(to, from)
	a.must(err)
	return path
}

// liveChunks counts the chunks on all disks, without those in the trash.
func (a *array) liveChunks() int {
	a.t.Helper()
	holders, err := a.Holders()
	a.must(err)
	return len(holders)
}

// trashed counts the chunks in the trash of all nodes.
func (a *array) trashed() (n int) {
	a.t.Helper()
	for i := range a.Nodes {
		files, err := filepath.Glob(filepath.Join(a.ChunkDir(i), "trash", "*", "*"))
		a.must(err)
		n += len(files)
	}
	return n
}

// One rotten byte in an index is no evidence that an upload never became a file.
func TestARottenByteOfAnIndexRemovesNoChunk(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	c := content(100_000)
	id := a.upload(c).ID
	info, err := a.API.Info(t.Context(), id)
	a.must(err)
	before := a.liveChunks()
	a.must(a.Controller.Terminate(settled))
	a.rotIndex("sqlite_autoindex_upload_1", info.Part1[0][:22])
	a.must(a.Controller.Start())
	a.must(a.WaitUp(t.Context(), 4))
	a.eventually("the status says so", settled, func() error {
		if text, err := a.API.Message(t.Context()); err != nil || !strings.Contains(text, "catalog is damaged") {
			return fmt.Errorf("status says %q, %v", text, err)
		}
		return nil
	})
	a.check(id, c)
	time.Sleep(evenLonger)
	if now := a.liveChunks(); now != before || a.trashed() > 0 {
		t.Errorf("%d chunks are on the nodes and %d in the trash, before there were %d", now, a.trashed(), before)
	}
	if err := a.API.Delete(t.Context(), id); cluster.Status(err) != 503 {
		t.Errorf("delete: %v, want status 503", err)
	}
	a.check(id, c)
}

// evenLonger is more than a controller that has just started waits for its nodes.
const evenLonger = 13 * time.Second

// rotIndex flips a bit of a text in an index of a catalog whose controller is stopped.
func (a *array) rotIndex(index, text string) {
	a.t.Helper()
	path := filepath.Join(a.Dir(), "controller", "catalog.db")
	db, err := sql.Open("sqlite", path+"?mode=ro")
	a.must(err)
	defer db.Close()
	var root int
	a.must(db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = ?", index).Scan(&root))
	b, err := os.ReadFile(path)
	a.must(err)
	at := bytes.Index(b[(root-1)*4096:root*4096], []byte(text)) // it is one page as yet
	if at < 0 {
		a.t.Fatalf("%s is not on page %d", text, root)
	}
	b[(root-1)*4096+at+10] ^= 1
	a.must(os.WriteFile(path, b, 0o600))
}

// A file's row is gone from the catalog, which else is sound and says so with every checksum. The
// file keeps all its chunks: its parts are there.
func TestAFileWhoseRowIsGoneKeepsItsChunks(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: []string{smallStripes}})
	c := content(3 * mib)
	lost := a.upload(c).ID
	kept := content(100_000)
	other := a.upload(kept).ID
	before := a.liveChunks()
	a.must(a.Controller.Terminate(settled))
	backup := a.copyCatalog()
	a.rewrite(backup, fmt.Sprintf("DELETE FROM upload WHERE id = %d", lost))
	a.must(a.Controller.Start())
	a.must(a.WaitUp(t.Context(), 4))
	a.eventually("the damage is noticed", settled, func() error {
		if _, err := a.API.Download(t.Context(), lost); cluster.Status(err) != 503 {
			return fmt.Errorf("a file that the catalog lost: %w, want status 503", err)
		}
		return nil
	})
	time.Sleep(longEnough)
	if now := a.liveChunks(); now != before || a.trashed() > 0 {
		t.Errorf("%d chunks are on the nodes and %d in the trash, before there were %d", now, a.trashed(), before)
	}
	a.check(other, kept)
}

// A catalog that has lost every trace of a file is believed, and its chunks go. But not
// far: when the catalog knows the file again, they are back.
func TestAFileThatComesBackToTheCatalogComesBackFromTheTrash(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: []string{smallStripes, "RAID_CONTROLLER_TRASH_KEEP=1h"}})
	c := content(3 * mib)
	lost := a.upload(c).ID
	before := a.liveChunks()
	a.must(a.Controller.Terminate(settled))
	backup := a.copyCatalog()
	a.rewrite(backup, fmt.Sprintf("DELETE FROM upload WHERE id = %d", lost), fmt.Sprintf("DELETE FROM part WHERE file = %d", lost),
		fmt.Sprintf("DELETE FROM chunk WHERE file = %d", lost), "UPDATE meta SET files = 0, bytes = 0")
	a.must(a.Controller.Start())
	a.eventually("the chunks go to the trash", settled, func() error {
		if live, trashed := a.liveChunks(), a.trashed(); live > 0 || trashed != before {
			return fmt.Errorf("%d chunks are on the nodes and %d in the trash, before there were %d", live, trashed, before)
		}
		return nil
	})
	for _, node := range a.Nodes[:2] { // the trash outlives a node's life
		a.must(node.Kill())
		a.must(node.Start())
	}
	a.must(a.Controller.Terminate(settled))
	a.rewrite(backup, "INSERT INTO upload SELECT * FROM before.upload", "INSERT INTO part SELECT * FROM before.part",
		"INSERT INTO chunk SELECT * FROM before.chunk", fmt.Sprintf("UPDATE meta SET files = 1, bytes = %d", c.Size))
	a.must(a.Controller.Start())
	a.must(a.WaitReady(t.Context(), 4))
	a.check(lost, c)
	if a.liveChunks() == 0 {
		t.Error("a file was read, and none of its chunks is back")
	}
}
