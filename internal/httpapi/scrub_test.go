package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// testScrubs are Scrubs that know n1 alone, and keep what they are asked for.
type testScrubs struct {
	asked  []string
	paused bool
}

func (s *testScrubs) note(what string, id raid.NodeID) error {
	if id != "" && id != "n1" {
		return fmt.Errorf("%w: there is no native node %s", raid.ErrNotFound, id)
	}
	s.asked = append(s.asked, what+" "+string(id))
	return nil
}

func (s *testScrubs) Start(_ context.Context, id raid.NodeID) error {
	s.paused = false
	return s.note("start", id)
}

func (s *testScrubs) Pause(_ context.Context, id raid.NodeID) error {
	s.paused = true
	return s.note("pause", id)
}

func (s *testScrubs) Paused(raid.NodeID) bool { return s.paused }

func (s *testScrubs) Verified(context.Context, raid.File) (string, error) {
	return "2026-01-02 03:04:05", nil
}

func (s *testScrubs) OldestVerified(context.Context) (string, error) {
	return "2026-01-01 00:00:00", nil
}

func TestScrubsAreStartedPausedAndShown(t *testing.T) {
	scrubs := &testScrubs{}
	node := raid.NodeInfo{ID: "n1", Name: "pi-1", Kind: raid.Native, State: raid.Up, Bad: 2,
		Scrubbed: raid.ScrubNote{Pass: 3, Began: "2026-01-01 00:00:00", Ended: "2026-01-01 01:00:00"}}
	s := serve(t, newStore(), func(c *Config) {
		c.Scrubs = scrubs
		c.Nodes = func() []raid.NodeInfo { return []raid.NodeInfo{node, {ID: "lab-1", Kind: raid.Lab}} }
	})
	row := func() map[string]any {
		t.Helper()
		var answer struct {
			Nodes  []map[string]any `json:"nodes"`
			Oldest string           `json:"oldest_verified"`
		}
		r := s.do("GET", "/scrub", nil)
		if err := json.Unmarshal(r.body, &answer); err != nil || len(answer.Nodes) != 1 || answer.Oldest != "2026-01-01 00:00:00" {
			t.Fatalf("%s, %v", r.body, err)
		}
		return answer.Nodes[0]
	}
	if r := row(); r["state"] != "unknown" || r["bad_chunks"] != 2.0 || r["last_finished"] != "2026-01-01 01:00:00" || r["seconds_left"] != nil {
		t.Errorf("of a node that does not say: %v", r)
	}
	node.Scrub = raid.Scrub{State: raid.ScrubRunning, Chunks: 3, OfChunks: 6, Bytes: 10, OfBytes: 20, Bad: 1, BytesPerSecond: 5, Left: 2 * time.Second}
	if r := row(); r["state"] != "running" || r["checked_chunks"] != 3.0 || r["of_bytes"] != 20.0 || r["found_bad"] != 1.0 || r["seconds_left"] != 2.0 || r["next_seconds"] != nil {
		t.Errorf("of one that reads: %v", r)
	}
	node.Scrub = raid.Scrub{State: raid.ScrubWaiting, Left: -1, Next: time.Hour, Last: raid.ScrubPass{Number: 3, Bad: 4}}
	if r := row(); r["state"] != "waiting" || r["found_bad"] != 4.0 || r["next_seconds"] != 3600.0 || r["seconds_left"] != nil {
		t.Errorf("of one that waits: %v", r)
	}
	for _, body := range []string{`{"action": "pause", "node": "n1"}`, `{"action": "start"}`, `{"action": "pause"}`} {
		if r := s.root("POST", "/scrub", strings.NewReader(body), isJSON); r.StatusCode != 200 {
			t.Errorf("%s: %d %s", body, r.StatusCode, r.body)
		}
	}
	if want := []string{"pause n1", "start ", "pause "}; !slices.Equal(scrubs.asked, want) {
		t.Errorf("asked for %q, want %q", scrubs.asked, want)
	}
	if r := row(); r["state"] != "paused" {
		t.Errorf("of one that is paused: %v", r)
	}
	for body, status := range map[string]int{`{"action": "stop"}`: 400, `{}`: 400, `{"action": "start", "node": "n2"}`: 404} {
		s.wantError(s.root("POST", "/scrub", strings.NewReader(body), isJSON), status)
	}
}

func TestInfoSaysWhenAFileWasVerified(t *testing.T) {
	s := serve(t, newStore())
	id := s.put("f", kit.Data(10))
	if r := s.do("GET", fmt.Sprintf("/files/%s/info", id), nil); !strings.Contains(string(r.body), `"verified":"2026-01-02 03:04:05"`) {
		t.Errorf("%s", r.body)
	}
	if r := s.do("GET", "/files", nil); strings.Contains(string(r.body), "verified") {
		t.Errorf("listings look it up for each file: %s", r.body)
	}
}
