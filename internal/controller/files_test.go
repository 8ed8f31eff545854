package controller

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestEveryFileComesBackAsItWas(t *testing.T) {
	a := newArray(t, 4, nil)
	const stripe = 256 << 10
	for _, size := range []int{0, 1, 2, 3, 65535, 65536, 65537, stripe - 1, stripe, stripe + 1, 3*stripe + 12345, 40 * stripe} {
		b := randomBytes(size)
		for _, known := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(b)
			if !known {
				body = io.MultiReader(body) // hides the length: chunked
			}
			status, i := a.tryUpload(body)
			if status != http.StatusCreated || i.Degraded {
				t.Fatalf("%d bytes (length known: %v): status %d %s, degraded %v", size, known, status, i.Message, i.Degraded)
			}
			a.mustEqual(i.ID, b)
		}
	}
}

func TestTwoCopiesLieOnTwoNodesAndAStripeOnFour(t *testing.T) {
	a := newArray(t, 4, nil)
	for range 20 {
		i := a.info(a.upload(randomBytes(1000)).ID)
		where := map[string]int{}
		for n, x := range a.nodes {
			for name := range x.chunks() {
				where[name] = n
			}
		}
		used := map[int]bool{}
		for _, half := range []string{i.Part1Filenames, i.Part2Filenames} {
			names := strings.Split(half, ",")
			if len(names) != 2 || where[names[0]] == where[names[1]] {
				t.Fatalf("file %d: copies %v on nodes %d and %d", i.ID, names, where[names[0]], where[names[1]])
			}
			used[where[names[0]]], used[where[names[1]]] = true, true
		}
		if len(used) != 4 {
			t.Fatalf("file %d: four chunks on %d nodes", i.ID, len(used))
		}
	}
}

func TestRangesAreExact(t *testing.T) {
	a := newArray(t, 3, nil)
	b := randomBytes(700_001)
	id := a.upload(b).ID
	for _, r := range [][2]int{{0, 0}, {0, 99}, {65535, 65536}, {131071, 131073}, {262143, 262145}, {1, 699_999}, {700_000, 700_000}, {393_215, 393_217}} {
		status, got := a.download(id, fmt.Sprintf("%d-%d", r[0], r[1]))
		if status != http.StatusPartialContent || !bytes.Equal(got, b[r[0]:r[1]+1]) {
			t.Errorf("bytes %v: status %d, %d bytes", r, status, len(got))
		}
	}
}

// broken is a body that fails in the middle.
type broken struct{ left int }

func (b *broken) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the cable was pulled")
	}
	n := min(b.left, len(p))
	b.left -= n
	return n, nil
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	a := newArray(t, 4, nil)
	for _, after := range []int{0, 100, 256<<10 + 1, 20 * 256 << 10, 60 * 256 << 10} {
		if _, err := http.Post(a.url+"/files?filename=f", "text/plain", &broken{after}); err == nil {
			t.Fatal("a broken upload was answered")
		}
	}
	a.eventually("no chunk on any node", func() bool { return a.totalChunks() == 0 })
	var list struct{ Files []info }
	a.getJSON("/files", &list)
	if len(list.Files) != 0 {
		t.Fatalf("listed: %v", list.Files)
	}
}

func TestADigestThatDoesNotMatchStoresNothing(t *testing.T) {
	a := newArray(t, 4, nil)
	req, _ := http.NewRequest(http.MethodPost, a.url+"/files?filename=f", bytes.NewReader(randomBytes(1<<20)))
	req.Header.Set("Repr-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("status %d", resp.StatusCode)
	}
	a.eventually("no chunk on any node", func() bool { return a.totalChunks() == 0 })
}

func TestDeletedFilesLeaveTheNodes(t *testing.T) {
	a := newArray(t, 4, nil)
	id := a.upload(randomBytes(3 << 20)).ID
	keep := randomBytes(5000)
	other := a.upload(keep).ID
	away := a.nodes[0]
	away.stop()
	if s := a.delete(id); s != http.StatusOK {
		t.Fatalf("delete: %d", s)
	}
	if s, _ := a.download(id, ""); s != http.StatusNotFound {
		t.Fatalf("a deleted file answers %d", s)
	}
	if s := a.delete(id); s != http.StatusNotFound {
		t.Fatalf("deleting twice: %d", s)
	}
	a.startNode(away, "")
	a.eventually("only the other file's four chunks are left", func() bool { return a.totalChunks() == 4 })
	a.mustEqual(other, keep)
}
