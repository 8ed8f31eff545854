package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// Scrubs knows when nodes read their chunks, and has them do so. An empty id stands for
// all native nodes.
type Scrubs interface {
	// Start has nodes read all their chunks now, or when they come, and ends a pause.
	Start(ctx context.Context, id raid.NodeID) error
	// Pause stops that until it is started.
	Pause(ctx context.Context, id raid.NodeID) error
	Paused(id raid.NodeID) bool
	// Verified is when all copies of a file were last known to be whole; empty: never.
	Verified(ctx context.Context, f raid.File) (string, error)
	// OldestVerified is the same of all files, or earlier; empty: there are none.
	OldestVerified(ctx context.Context) (string, error)
}

// nodeScrub is a row of GET /scrub.
type nodeScrub struct {
	Node           raid.NodeID     `json:"node"`
	Name           string          `json:"name"`
	State          raid.ScrubState `json:"state"`
	BadChunks      int64           `json:"bad_chunks"`     // that were found and are still there
	CheckedChunks  int64           `json:"checked_chunks"` // of the pass under way
	OfChunks       int64           `json:"of_chunks"`
	CheckedBytes   int64           `json:"checked_bytes"`
	OfBytes        int64           `json:"of_bytes"`  // about
	FoundBad       int64           `json:"found_bad"` // by the pass under way, or the last one
	BytesPerSecond int64           `json:"bytes_per_second"`
	SecondsLeft    *int64          `json:"seconds_left"`  // null: it can't be told
	NextSeconds    *int64          `json:"next_seconds"`  // of running time, until a pass is due; null: none is
	LastBegan      *string         `json:"last_began"`    // UTC; null: no pass came to its end yet
	LastFinished   *string         `json:"last_finished"` // the same
}

// scrubUnknown is the state of a node that is away, or too old to have one.
const scrubUnknown raid.ScrubState = "unknown"

func (a *API) scrubRow(n *raid.NodeInfo) nodeScrub {
	p := n.Scrub
	row := nodeScrub{
		Node: n.ID, Name: n.Name, State: p.State, BadChunks: n.Bad, CheckedChunks: p.Chunks, OfChunks: p.OfChunks, CheckedBytes: p.Bytes, OfBytes: p.OfBytes,
		FoundBad: p.Bad, BytesPerSecond: p.BytesPerSecond,
	}
	switch {
	case a.cfg.Scrubs.Paused(n.ID):
		row.State = raid.ScrubPaused
	case p.State == "":
		row.State = scrubUnknown
	case p.State == raid.ScrubWaiting:
		row.FoundBad = p.Last.Bad
		if p.Next > 0 {
			row.NextSeconds = inSeconds(p.Next)
		}
	}
	if row.State == raid.ScrubRunning && p.Left >= 0 {
		row.SecondsLeft = inSeconds(p.Left)
	}
	if n.Scrubbed.Pass > 0 {
		row.LastBegan, row.LastFinished = &n.Scrubbed.Began, &n.Scrubbed.Ended
	}
	return row
}

func inSeconds(d time.Duration) *int64 {
	n := int64(d / time.Second)
	return &n
}

// scrub serves GET /scrub.
func (a *API) scrub(x *exchange) error {
	oldest, err := a.cfg.Scrubs.OldestVerified(x.Context())
	if err != nil {
		return err
	}
	rows := []nodeScrub{}
	for _, n := range a.cfg.Nodes() {
		if n.Kind == raid.Native {
			rows = append(rows, a.scrubRow(&n))
		}
	}
	return x.SendJSON(http.StatusOK, struct {
		Nodes  []nodeScrub `json:"nodes"`
		Oldest string      `json:"oldest_verified"`
	}{rows, oldest})
}

// changeScrub serves POST /scrub.
func (a *API) changeScrub(x *exchange) error {
	var wish struct {
		Node   raid.NodeID `json:"node"`
		Action string      `json:"action"`
	}
	const example = `{"node": "RsZ5t…", "action": "start"}`
	if err := x.ReadJSON(maxWish, &wish, example); err != nil {
		return err
	}
	act := map[string]func(context.Context, raid.NodeID) error{"start": a.cfg.Scrubs.Start, "pause": a.cfg.Scrubs.Pause}[wish.Action]
	if act == nil {
		return httpserver.BadRequest("the action %q is not known; it is start or pause", httpserver.Clip(wish.Action))
	}
	if err := act(x.Context(), wish.Node); err != nil {
		return err
	}
	return x.SendJSON(http.StatusOK, struct{}{})
}
