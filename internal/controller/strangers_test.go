package controller

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/raid"
)

// A new array beside nodes of the old one is most likely a lost state directory.
func TestAFreshControllerSaysWhoseNodesKnock(t *testing.T) {
	a := newArray(t, 2, nil)
	b := randomBytes(10_000)
	id := a.upload(b).ID
	var old, fresh httpapi.Status
	a.getJSON("/status", &old)
	a.stopController()
	state := filepath.Join(a.dir, "controller")
	if err := os.Rename(state, state+".lost"); err != nil {
		t.Fatal(err)
	}
	chunks := a.totalChunks()
	a.startController()
	a.eventually("both nodes knock", func() bool {
		a.getJSON("/status", &fresh)
		return len(fresh.Strangers) == 1 && fresh.Strangers[0].Nodes == 2
	})
	if s := fresh.Strangers[0]; s.Array != old.Array || len(s.Addresses) != 1 || s.Addresses[0] != "127.0.0.1" {
		t.Errorf("who knocks: %+v", s)
	}
	for _, want := range []string{"2 nodes of array " + string(old.Array), "127.0.0.1", "backup"} {
		if !strings.Contains(fresh.Message, want) || !strings.Contains(fresh.HealthText, want) {
			t.Errorf("%q is missing in %q", want, fresh.Message)
		}
	}
	if strings.Contains(fresh.Message, "no node has joined yet") || fresh.Ready {
		t.Errorf("ready: %v, %q", fresh.Ready, fresh.Message)
	}
	resp, err := http.Get(a.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", resp.StatusCode)
	}
	// The old one, put back, goes on as if nothing had been.
	a.stopController()
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(state+".lost", state); err != nil {
		t.Fatal(err)
	}
	a.startController()
	a.awaitUp(2)
	a.mustEqual(id, b)
	a.upload(b)
	if now := a.totalChunks(); now != chunks+4 {
		t.Errorf("%d chunks, were %d", now, chunks)
	}
}

// Anybody can make up ids.
func TestStrangersWhoMakeUpIDsFillNothing(t *testing.T) {
	s := newStrangers("own", testLog(t))
	from := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
	for i := range 10_000 {
		s.knock(raid.ArrayID(fmt.Sprintf("array%d", i)), "n", from)
	}
	s.knock("own", "n", from)
	s.knock("", "n", from)
	if got := len(s.there()); got != maxStrangers || len(s.seen) != maxStrangers {
		t.Errorf("%d are remembered", got)
	}
	if text := strangersText(s.there()); len(text) > 300 {
		t.Errorf("said of them: %q", text)
	}
}
