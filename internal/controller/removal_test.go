package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// id is the node's, as its disk is marked.
func (a *array) id(n *testNode) string {
	a.t.Helper()
	var marker struct{ Node string }
	b, err := os.ReadFile(filepath.Join(n.dir, "chunks", "raid-node.json"))
	if err == nil {
		err = json.Unmarshal(b, &marker)
	}
	if err != nil || marker.Node == "" {
		a.t.Fatalf("the marker of %s: %v, %s", n.dir, err, b)
	}
	return marker.Node
}

// shown is what these tests read of /status.
type shown struct {
	Ready           bool
	Health          raid.Health
	HealthText      string `json:"health_text"`
	FilesAtRisk     int    `json:"files_at_risk"`
	FilesUnreadable int    `json:"files_unreadable"`
}

func (a *array) shown() (s shown) {
	a.t.Helper()
	a.getJSON("/status", &s)
	return s
}

// unplugged is what these tests read of /nodes/{id}/unplug.
type unplugged struct {
	Safe             bool
	Text             string
	WaitFor          string `json:"wait_for"`
	UnreadableFiles  int    `json:"unreadable_files"`
	UnprotectedFiles int    `json:"unprotected_files"`
}

func (a *array) unplug(n *testNode) (u unplugged) {
	a.t.Helper()
	a.getJSON("/nodes/"+a.id(n)+"/unplug", &u)
	return u
}

// down stops a node and waits until the controller has seen it.
func (a *array) down(n *testNode, want int) {
	a.t.Helper()
	n.stop()
	a.eventually(fmt.Sprintf("%d nodes down", want), func() bool { return a.nodesIn(raid.Down) == want })
}

// unreadable counts the files that can't be read. It asks for all at once, since each
// waits for nodes that may come back.
func (a *array) unreadable(files map[int64][]byte) int {
	var n atomic.Int32
	var wg sync.WaitGroup
	for id, b := range files {
		wg.Go(func() {
			if !bytes.Equal(a.fetch(id), b) {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// With one node after the other away, the number of files that are said to be
// unreadable is the number of those that can't be read. And so much was told before.
func TestStatusTellsTheFilesThatCantBeRead(t *testing.T) {
	a := newArray(t, 5, nil)
	files := map[int64][]byte{}
	for i := range 16 {
		b := randomBytes(100 + i%4*300_000)
		files[a.upload(b).ID] = b
	}
	if s := a.shown(); s != (shown{Ready: true, Health: raid.Healthy}) {
		t.Errorf("all are up: %+v", s)
	}
	before := 0
	for away := 1; away <= 4; away++ {
		unplug := a.unplug(a.nodes[away-1])
		a.down(a.nodes[away-1], away)
		s, unreadable := a.shown(), a.unreadable(files)
		if s.FilesUnreadable != unreadable || s.Ready != (unreadable == 0) || s.FilesAtRisk > len(files)-unreadable {
			t.Errorf("%d nodes away, %d files can't be read: %+v", away, unreadable, s)
		}
		if unplug.UnreadableFiles != unreadable || unplug.UnprotectedFiles != s.FilesAtRisk || unplug.Safe != (unreadable == before) {
			t.Errorf("before the node went, it was said that %+v; then %+v", unplug, s)
		}
		before = unreadable
		if away == 1 && (s.Health != raid.Degraded || s.FilesAtRisk == 0 || !strings.Contains(s.HealthText, fmt.Sprintf("%d file", s.FilesAtRisk))) {
			t.Errorf("one is away: %+v", s)
		}
		if away == 4 && (s.Health != raid.AtRisk || unreadable == 0 || !strings.Contains(s.HealthText, "can't be read")) {
			t.Errorf("one is left: %+v", s)
		}
	}
	for i, n := range a.nodes[:4] {
		a.startNode(n, "")
		a.eventually("another one is up", func() bool { return a.nodesIn(raid.Up) == i+2 })
	}
	a.eventually("all is well again", func() bool { return a.shown() == shown{Ready: true, Health: raid.Healthy} })
}

func TestANodeIsNotRemovedOnCopiesThatAreNotThere(t *testing.T) {
	a := newArray(t, 3, nil)
	files := map[int64][]byte{}
	for range 12 {
		b := randomBytes(3000)
		files[a.upload(b).ID] = b
	}
	a.down(a.nodes[1], 1)
	victim := a.id(a.nodes[0])
	remove := func(query string) (int, int) {
		var answer struct {
			Lose    int
			Message string
		}
		status, text := a.root("DELETE", "/nodes/"+victim+query, "")
		if status != http.StatusOK && (json.Unmarshal([]byte(text), &answer) != nil || !strings.Contains(answer.Message, a.id(a.nodes[1]))) {
			t.Errorf("%d %s", status, text)
		}
		return status, answer.Lose
	}
	status, lose := remove("")
	if status != http.StatusConflict || lose == 0 {
		t.Fatalf("unforced: %d, lose %d", status, lose)
	}
	for _, query := range []string{"?force=1", fmt.Sprintf("?force=1&lose=%d", lose-1), fmt.Sprintf("?force=1&lose=%d", lose+1), fmt.Sprintf("?lose=%d", lose)} {
		if status, again := remove(query); status != http.StatusConflict || again != lose {
			t.Errorf("%s: %d, lose %d, want %d", query, status, again, lose)
		}
	}
	if s := a.shown(); s.FilesUnreadable != 0 {
		t.Errorf("before: %+v", s)
	}
	if status, _ := remove(fmt.Sprintf("?force=1&lose=%d", lose)); status != http.StatusOK {
		t.Fatalf("with the right number: %d", status)
	}
	unreadable := a.unreadable(files)
	if s := a.shown(); unreadable != lose || s.FilesUnreadable != lose || s.Ready {
		t.Errorf("%d files were to be lost, %d can't be read: %+v", lose, unreadable, s)
	}
	// What was said to be lost may come back with the node that was away.
	a.startNode(a.nodes[1], "")
	a.awaitUp(2)
	for id, b := range files {
		a.mustEqual(id, b)
	}
}

// Each would be the copy that the other's removal counts on.
func TestOfTwoNodesRemovedAtOnceOneStays(t *testing.T) {
	a := newArray(t, 2, nil)
	b := randomBytes(3000)
	id := a.upload(b).ID
	var wg sync.WaitGroup
	statuses := make([]int, 2)
	for i, n := range a.nodes {
		path := "/nodes/" + a.id(n) + "?force=1"
		wg.Go(func() { statuses[i], _ = a.root("DELETE", path, "") })
	}
	wg.Wait()
	if statuses[0]+statuses[1] != http.StatusOK+http.StatusConflict {
		t.Errorf("they are told %v", statuses)
	}
	a.mustEqual(id, b)
}

// A node that is away holds what may come back, until it is removed as well.
func TestFilesAreLostWhenTheLastNodeThatHadThemIsRemoved(t *testing.T) {
	a := newArray(t, 2, nil)
	id := a.upload(randomBytes(3000)).ID
	a.down(a.nodes[0], 1)
	if status, text := a.root("DELETE", "/nodes/"+a.id(a.nodes[1])+"?force=1&lose=1", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if s := a.shown(); s.Health != raid.AtRisk || s.FilesUnreadable != 1 {
		t.Errorf("a copy is on the node that is away: %+v", s)
	}
	path := "/nodes/" + a.id(a.nodes[0])
	if status, text := a.root("DELETE", path+"?force=1", ""); status != http.StatusConflict {
		t.Errorf("without a number: %d %s", status, text)
	}
	if status, text := a.root("DELETE", path+"?force=1&lose=1", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	a.eventually("the file is called lost, by its id", func() bool {
		s := a.shown()
		return s.Health == raid.DataLost && s.FilesUnreadable == 1 && !s.Ready && strings.Contains(s.HealthText, fmt.Sprintf("1 file lost: no node of the array has a good copy of some part (%d ", id))
	})
}
