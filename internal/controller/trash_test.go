package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// trashList is what GET /trash answers.
func (a *array) trashList() (ids []int64) {
	a.t.Helper()
	status, text := a.root("GET", "/trash", "")
	var answer struct{ Files []struct{ ID int64 } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK {
		a.t.Fatalf("GET /trash: %d %s", status, text)
	}
	for _, f := range answer.Files {
		ids = append(ids, f.ID)
	}
	return ids
}

func (a *array) undelete(id int64) int {
	a.t.Helper()
	status, _ := a.root("POST", fmt.Sprintf("/files/%d/undelete", id), "")
	return status
}

func keeping(d time.Duration) func(*Config) { return func(c *Config) { c.TrashKeep = d } }

// Real nodes and files: what is put back is whole, also after a restart, and with a node
// that was away for all of it.
func TestADeletedFileIsPutBackWhole(t *testing.T) {
	a := newArray(t, 3, keeping(time.Hour))
	small, large := randomBytes(5000), randomBytes(1<<20)
	first, second := a.upload(small).ID, a.upload(large).ID
	chunks := a.totalChunks()
	for _, id := range []int64{first, second} {
		if s := a.delete(id); s != http.StatusOK {
			t.Fatalf("delete: %d", s)
		}
	}
	a.nodes[0].stop()
	a.stopController()
	a.startController()
	a.awaitUp(2)
	if got := a.trashList(); len(got) != 2 {
		t.Errorf("in the trash: %v", got)
	}
	for _, id := range []int64{first, second} {
		if s := a.undelete(id); s != http.StatusOK {
			t.Errorf("put file %d back: %d", id, s)
		}
	}
	a.mustEqual(first, small)
	a.mustEqual(second, large)
	a.startNode(a.nodes[0], "")
	a.awaitUp(3)
	time.Sleep(time.Second) // what would be removed would be by now
	if n := a.totalChunks(); n != chunks {
		t.Errorf("there are %d chunks, were %d", n, chunks)
	}
	a.mustEqual(first, small)
	a.mustEqual(second, large)
}

// Chunks go when a file's time is over, when it is purged and when the trash is emptied,
// and not before.
func TestWhatLeavesTheTrashLeavesTheNodes(t *testing.T) {
	for how, leave := range map[string]func(a *array, id int64){
		"its time is over": func(*array, int64) {},
		"it is purged": func(a *array, id int64) {
			if s, text := a.root("DELETE", fmt.Sprintf("/files/%d?purge=1", id), ""); s != http.StatusOK {
				a.t.Errorf("%d %s", s, text)
			}
		},
		"the trash is emptied": func(a *array, _ int64) {
			if s, text := a.root("DELETE", "/trash", ""); s != http.StatusOK || text != `{"files":1,"bytes":5000}`+"\n" {
				a.t.Errorf("%d %s", s, text)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			keep := time.Hour
			if how == "its time is over" {
				keep = 3 * time.Second
			}
			a := newArray(t, 2, keeping(keep))
			id := a.upload(randomBytes(5000)).ID
			if s := a.delete(id); s != http.StatusOK {
				t.Fatalf("delete: %d", s)
			}
			deleted := time.Now()
			if n := a.totalChunks(); n != 4 {
				t.Errorf("%d chunks are left of a file that can be put back", n)
			}
			leave(a, id)
			a.eventually("its chunks are gone", func() bool { return a.totalChunks() == 0 })
			if how == "its time is over" && time.Since(deleted) < keep {
				t.Errorf("it went after %v", time.Since(deleted))
			}
			if s := a.undelete(id); s != http.StatusNotFound {
				t.Errorf("undelete: %d", s)
			}
		})
	}
}

// A node is drained, taken out and gone. What was in the trash all the time is put back
// whole, and REST said before that the node might go.
func TestWhatIsInTheTrashOutlivesADrainedNode(t *testing.T) {
	a := newArray(t, 3, keeping(time.Hour))
	var files [][]byte
	var ids []int64
	for range 6 {
		files = append(files, randomBytes(100_000))
		ids = append(ids, a.upload(files[len(files)-1]).ID)
	}
	for _, id := range ids {
		if s := a.delete(id); s != http.StatusOK {
			t.Fatalf("delete: %d", s)
		}
	}
	gone := a.id(a.nodes[0])
	if s, text := a.root("POST", "/nodes/"+gone+"/drain", ""); s >= 300 {
		t.Fatalf("drain: %d %s", s, text)
	}
	a.eventually("the node holds nothing", func() bool {
		var n struct{ Drain string }
		_, text := a.root("GET", "/nodes/"+gone, "")
		return json.Unmarshal([]byte(text), &n) == nil && strings.HasPrefix(n.Drain, "holds nothing any more")
	})
	var unplug struct{ Safe bool }
	if s, text := a.root("GET", "/nodes/"+gone+"/unplug", ""); s != http.StatusOK || json.Unmarshal([]byte(text), &unplug) != nil || !unplug.Safe {
		t.Errorf("unplug: %d %s", s, text)
	}
	if s, text := a.root("DELETE", "/nodes/"+gone, ""); s >= 300 {
		t.Fatalf("remove: %d %s", s, text)
	}
	a.nodes[0].stop()
	if got := a.trashList(); len(got) != len(ids) {
		t.Errorf("in the trash: %v", got)
	}
	for i, id := range ids {
		if s := a.undelete(id); s != http.StatusOK {
			t.Errorf("put file %d back: %d", id, s)
		}
		a.mustEqual(id, files[i])
	}
}
