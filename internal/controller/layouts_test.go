package controller

import (
	"bytes"
	"net/http"
	"os"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestWholeFileStripesWorkAsInTheAssignment(t *testing.T) {
	a := newArray(t, 4, func(c *Config) { c.StripeSize, c.MaxWholeFile = 0, 64<<20 })
	for _, size := range []int{0, 1, 5 << 20, 48<<20 + 1} {
		b := randomBytes(size)
		before := a.totalChunks()
		a.mustEqual(a.upload(b).ID, b)
		if n := a.totalChunks() - before; n != 4 {
			t.Errorf("%d bytes made %d chunks, not the assignment's four", size, n)
		}
	}
	if s, _ := a.tryUpload(bytes.NewReader(randomBytes(64<<20 + 1))); s != http.StatusRequestEntityTooLarge {
		t.Errorf("a file over max_whole_file: %d", s)
	}
	if a.nodesIn(raid.Up) != 4 {
		t.Error("large parts cost a node its session")
	}
}

func TestFilesSurviveAnotherStripeSize(t *testing.T) {
	size := int64(4 << 20)
	a := newArray(t, 3, func(c *Config) { c.StripeSize = size })
	b := randomBytes(9<<20 + 5)
	id := a.upload(b).ID
	a.stopController()
	size = 64 << 10
	a.startController()
	a.awaitUp(3)
	a.mustEqual(id, b)
	small := randomBytes(300_000)
	other := a.upload(small).ID
	a.mustEqual(other, small)
	for _, path := range a.nodes[0].chunks() { // and old parts can be made again
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	want := 2*2*3 + 2*2*5
	a.eventually("every chunk is there again", func() bool {
		a.mustEqual(id, b)
		a.mustEqual(other, small)
		return a.totalChunks() == want
	})
}

func TestThreeCopiesLieOnThreeNodes(t *testing.T) {
	a := newArray(t, 3, func(c *Config) { c.Copies = 3 })
	b := randomBytes(500_000)
	id := a.upload(b).ID
	if n := a.totalChunks(); n != 2*2*3 {
		t.Fatalf("%d chunks", n)
	}
	a.nodes[0].stop()
	a.nodes[1].stop()
	a.mustEqual(id, b)
}

func TestZonesAreKeptApartInTheArray(t *testing.T) {
	a := newArray(t, 0, nil)
	for range 4 {
		a.addNode("")
	}
	a.awaitUp(4)
	for i, zone := range []string{"shed", "shed", "house", "house"} {
		if status, text := a.root("PATCH", "/nodes/"+string(nodeIDOf(t, a.nodes[i])), `{"zone": "`+zone+`"}`); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	var files [][]byte
	var ids []int64
	for range 10 {
		b := randomBytes(1000)
		files, ids = append(files, b), append(ids, a.upload(b).ID)
	}
	a.nodes[0].stop() // a whole zone burns down
	a.nodes[1].stop()
	for i := range ids {
		a.mustEqual(ids[i], files[i])
	}
}

func TestAnUploadThatBeganBeforeTheCatalogWasFoundOldGetsNo201(t *testing.T) {
	a := newArray(t, 2, nil)
	a.upload(randomBytes(1000))
	old := a.saveCatalog()
	a.upload(randomBytes(1000))
	a.stopController()
	for _, n := range a.nodes {
		n.stop()
	}
	a.restoreCatalog(old)
	a.startController()
	answer := make(chan int, 1)
	go func() {
		s, _ := a.tryUpload(bytes.NewReader(randomBytes(1000)))
		answer <- s
	}()
	for _, n := range a.nodes {
		a.startNode(n, "")
	}
	if s := <-answer; s == http.StatusCreated {
		t.Fatal("201 on a catalog that is behind")
	}
}

func TestRestartsDoNotMakeAnOldCatalogCurrent(t *testing.T) {
	a := newArray(t, 2, nil)
	a.upload(randomBytes(1000))
	old := a.saveCatalog()
	a.upload(randomBytes(1000))
	chunks := a.totalChunks()
	a.stopController()
	a.restoreCatalog(old)
	for range 6 {
		a.startController()
		a.awaitUp(2)
		if s, _ := a.tryUpload(bytes.NewReader(nil)); s != http.StatusServiceUnavailable {
			t.Fatalf("upload: %d", s)
		}
		a.stopController()
	}
	if n := a.totalChunks(); n != chunks {
		t.Fatalf("%d chunks before, %d after", chunks, n)
	}
}
