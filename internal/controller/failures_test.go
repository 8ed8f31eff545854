package controller

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestALoneNodeStoresDegradedAndTheArrayRepairsIt(t *testing.T) {
	a := newArray(t, 1, nil)
	b := randomBytes(600_000)
	i := a.upload(b)
	if !i.Degraded || !a.info(i.ID).Degraded {
		t.Fatal("a file on one node is not called degraded")
	}
	a.mustEqual(i.ID, b)
	a.addNode("")
	a.eventually("the file is whole again", func() bool { return !a.info(i.ID).Degraded })
	a.eventually("six chunks on either node", func() bool {
		return len(a.nodes[0].chunks()) == 6 && len(a.nodes[1].chunks()) == 6
	})
	a.nodes[0].stop()
	a.mustEqual(i.ID, b)
}

// In between no node comes or goes.
func TestTheStatusLineFollowsFilesThatBecomeDegradedAndWhole(t *testing.T) {
	var line atomic.Value
	a := newArray(t, 1, func(c *Config) { c.Status = func(s string) { line.Store(s) } })
	shows := func(want string) {
		t.Helper()
		a.eventually("the status "+want, func() bool { return line.Load() == want })
	}
	first := a.upload(randomBytes(1000))
	shows("1/1 nodes up; at-risk: 1 file degraded: a second copy needs a second node that is up; add one, or start it")
	second := a.upload(randomBytes(1000))
	shows("1/1 nodes up; at-risk: 2 files degraded: a second copy needs a second node that is up; add one, or start it")
	for _, id := range []int64{first.ID, second.ID} {
		if status := a.delete(id); status != http.StatusOK {
			t.Fatalf("delete: %d", status)
		}
	}
	shows("1/1 nodes up; degraded: files stored now get one copy: 2 copies need as many nodes that are up; add one, or start it")
}

func TestWithoutDegradedWritesALoneNodeRefuses(t *testing.T) {
	a := newArray(t, 1, func(c *Config) { c.DegradedWrites = false })
	status, i := a.tryUpload(bytes.NewReader(randomBytes(1000)))
	if status != http.StatusServiceUnavailable || !strings.Contains(i.Message, "degraded_writes") {
		t.Fatalf("status %d, %q", status, i.Message)
	}
	a.eventually("nothing is left on the node", func() bool { return a.totalChunks() == 0 })
}

func TestKnownNodesAreWaitedForBeforeStoringDegraded(t *testing.T) {
	a := newArray(t, 2, func(c *Config) { c.Settle = 8 * time.Second })
	a.upload(randomBytes(1000)) // what makes them known
	a.nodes[1].stop()
	a.eventually("one node down", func() bool { return a.nodesIn(raid.Down) == 1 })
	var back sync.WaitGroup
	back.Go(func() {
		time.Sleep(500 * time.Millisecond)
		a.startNode(a.nodes[1], "")
	})
	defer back.Wait()
	if i := a.upload(randomBytes(1000)); i.Degraded {
		t.Fatal("stored degraded although the other node came back within settle")
	}
}

func TestUploadsDuringTheRestartOfANodeAreNotDegraded(t *testing.T) {
	a := newArray(t, 2, func(c *Config) { c.Settle = 20 * time.Second })
	a.upload(randomBytes(1000)) // what makes them known
	var restarted atomic.Bool
	var restart sync.WaitGroup
	restart.Go(func() {
		defer restarted.Store(true)
		time.Sleep(100 * time.Millisecond)
		a.nodes[1].stop()
		time.Sleep(300 * time.Millisecond)
		a.startNode(a.nodes[1], "")
	})
	defer restart.Wait()
	for n := 0; !restarted.Load() || a.nodesIn(raid.Up) < 2; n++ {
		if i := a.upload(randomBytes(1000)); i.Degraded {
			t.Fatalf("upload %d was stored degraded", n)
		}
	}
}

func TestNoNodesAtAllIsSaid(t *testing.T) {
	a := newArray(t, 0, nil)
	status, i := a.tryUpload(bytes.NewReader(randomBytes(1000)))
	if status != http.StatusServiceUnavailable || !strings.Contains(i.Message, "too few nodes") {
		t.Fatalf("status %d, %q", status, i.Message)
	}
}

func TestReadsAndWritesGoOnWithEachNodeDown(t *testing.T) {
	a := newArray(t, 3, nil)
	b := randomBytes(2 << 20)
	id := a.upload(b).ID
	for _, n := range a.nodes {
		n.stop()
		a.mustEqual(id, b)
		if i := a.upload(b); i.Degraded {
			t.Fatal("degraded although two nodes are up")
		}
		a.startNode(n, "")
		a.awaitUp(3)
	}
}

// spoil changes every chunk file of a node in place.
func (n *testNode) spoil(t *testing.T, change func([]byte) []byte) (spoiled int) {
	t.Helper()
	for _, path := range n.chunks() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		spoiled++
	}
	return spoiled
}

func TestABadCopyIsNeverServedAndMadeAgain(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"flipped payload": func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
		"truncated":       func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":         func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := newArray(t, 3, nil)
			b := randomBytes(700_000)
			id := a.upload(b).ID
			bad := a.nodes[0].spoil(t, change)
			if bad == 0 {
				t.Fatal("nothing to spoil")
			}
			for range 30 {
				a.mustEqual(id, b)
			}
			a.eventually("every copy is good again", func() bool { return !a.info(id).Degraded && a.totalChunks() == 12 })
			for _, n := range a.nodes[1:] { // what was made again serves alone
				n.stop()
				status, got := a.download(id, "")
				if status == http.StatusOK && !bytes.Equal(got, b) {
					t.Fatal("wrong bytes")
				}
				a.startNode(n, "")
				a.awaitUp(3)
			}
		})
	}
}

func TestDeletedChunkFilesAreNoticedAndMadeAgain(t *testing.T) {
	a := newArray(t, 3, nil)
	b := randomBytes(100_000)
	id := a.upload(b).ID
	for _, path := range a.nodes[1].chunks() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	a.eventually("four chunks again", func() bool { a.mustEqual(id, b); return a.totalChunks() == 4 })
}

func TestBothCopiesBadIsAnErrorAndNoFile(t *testing.T) {
	a := newArray(t, 2, nil)
	id := a.upload(randomBytes(100_000)).ID
	for _, n := range a.nodes {
		n.spoil(t, func(b []byte) []byte { b[0] ^= 1; return b })
	}
	status, _ := a.download(id, "")
	if status < 500 {
		t.Fatalf("status %d", status)
	}
}

// Each copy is rotten somewhere, and no byte is rotten in both.
func TestBothCopiesRottenInDifferentPlacesAreServedAndMadeWhole(t *testing.T) {
	flip := func(at int) func([]byte) []byte { // from the end where it is negative
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	for name, change := range map[string][2]func([]byte) []byte{
		"two blocks":            {flip(0), flip(raid.BlockSize)},
		"a trailer and a block": {flip(-1), flip(raid.BlockSize)},
		"cut short and a block": {func(b []byte) []byte { return b[:raid.BlockSize+1] }, flip(0)},
		"both trailers":         {flip(-1), func(b []byte) []byte { return b[:len(b)-1] }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArray(t, 2, nil)
			b := randomBytes(700_000)
			id := a.upload(b).ID
			for i, n := range a.nodes {
				if n.spoil(t, change[i]) != 6 {
					t.Fatal("there are not six chunks to spoil")
				}
			}
			a.mustEqual(id, b)
			a.eventually("every copy is good again", func() bool { return !a.info(id).Degraded && a.totalChunks() == 12 })
			for _, n := range a.nodes { // what was made again serves alone
				n.stop()
				a.mustEqual(id, b)
				a.startNode(n, "")
				a.awaitUp(2)
			}
		})
	}
}

func TestUnfinishedUploadsOfAnEarlierRunAreCleanedUp(t *testing.T) {
	const stripe, stripes = 1 << 20, 20 // enough for rows in the catalog
	a := newArray(t, 3, func(c *Config) { c.StripeSize = stripe })
	keep := randomBytes(300_000)
	id := a.upload(keep).ID
	want := a.totalChunks()
	r, w := io.Pipe()
	var client sync.WaitGroup
	client.Go(func() {
		resp, err := http.Post(a.url+"/files?filename=f", "text/plain", r)
		if err == nil {
			resp.Body.Close()
		}
	})
	defer client.Wait()
	for i := range stripes { // more slowly than the nodes write
		for quarter := range slices.Chunk(randomBytes(stripe), stripe/4) {
			if _, err := w.Write(quarter); err != nil {
				t.Fatal(err)
			}
			// The first byte of a stripe sends the one before.
			a.eventually("chunks of the unfinished upload", func() bool { return a.totalChunks() >= want+4*i })
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, n := range a.nodes { // as if the power went: nobody can clean up now
		n.stop()
	}
	// This is what the next start finds. The controller itself would still give
	// the upload up.
	crashed := a.readCatalog()
	w.CloseWithError(errors.New("the client goes away"))
	a.stopController()
	if n := unfinished(t, crashed); n != 1 {
		t.Fatalf("%d uploads were unfinished in the catalog, want 1: nothing was tested", n)
	}
	a.restoreCatalog(crashed)
	a.startController()
	for _, n := range a.nodes {
		a.startNode(n, "")
	}
	a.awaitUp(3)
	a.eventually("only the whole file's chunks are left", func() bool { return a.totalChunks() == want })
	a.mustEqual(id, keep)
}

// unfinished counts the uploads in progress of a catalog, of which it opens a copy.
func unfinished(t *testing.T, files map[string][]byte) int {
	t.Helper()
	dir := t.TempDir()
	for f, b := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := catalog.Open(t.Context(), catalog.Config{Path: filepath.Join(dir, CatalogFile)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := c.AbandonUnfinished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAnOlderCatalogIsNoticed(t *testing.T) {
	for name, nodesToo := range map[string]bool{"nodes go on": false, "nodes restart": true} {
		t.Run(name, func(t *testing.T) {
			a := newArray(t, 3, nil)
			first := randomBytes(10_000)
			id := a.upload(first).ID
			old := a.saveCatalog()
			later := a.upload(randomBytes(10_000)).ID
			a.upload(randomBytes(10_000))
			chunks := a.totalChunks()
			a.stopController()
			if nodesToo {
				for _, n := range a.nodes {
					n.stop()
				}
			}
			a.restoreCatalog(old)
			a.startController()
			if nodesToo {
				for _, n := range a.nodes {
					a.startNode(n, "")
				}
			}
			a.awaitUp(3)
			if s, i := a.tryUpload(bytes.NewReader(first)); s != http.StatusServiceUnavailable || !strings.Contains(i.Message, "older") && !strings.Contains(i.Message, "behind") {
				t.Errorf("upload: %d %q", s, i.Message)
			}
			if s := a.delete(id); s != http.StatusServiceUnavailable {
				t.Errorf("delete: %d", s)
			}
			if s, _ := a.download(later, ""); s != http.StatusServiceUnavailable {
				t.Errorf("a file that the old catalog can't know: %d", s)
			}
			a.mustEqual(id, first)
			time.Sleep(time.Second)
			if n := a.totalChunks(); n != chunks {
				t.Errorf("%d chunks before, %d after", chunks, n)
			}
		})
	}
}

// saveCatalog stops the controller, copies its catalog, and starts it again.
func (a *array) saveCatalog() map[string][]byte {
	a.t.Helper()
	up := a.nodesIn(raid.Up)
	a.stopController()
	old := a.readCatalog()
	a.startController()
	a.awaitUp(up)
	return old
}

// readCatalog reads the catalog's files as they are. SQLite's shared memory is
// left out: a machine that lost power does not have it either.
func (a *array) readCatalog() map[string][]byte {
	a.t.Helper()
	files := map[string][]byte{}
	for _, f := range a.catalogFiles() {
		if strings.HasSuffix(f, "-shm") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			a.t.Fatal(err)
		}
		files[f] = b
	}
	return files
}

// restoreCatalog puts a copy in place of the catalog of a stopped controller.
func (a *array) restoreCatalog(old map[string][]byte) {
	a.t.Helper()
	for _, f := range a.catalogFiles() {
		if err := os.Remove(f); err != nil {
			a.t.Fatal(err)
		}
	}
	for f, b := range old {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *array) catalogFiles() []string {
	m, err := filepath.Glob(filepath.Join(a.dir, "controller", CatalogFile+"*"))
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}
