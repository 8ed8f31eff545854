package client

import (
	"context"
	"net/http"

	"github.com/raidpi/raidpi/internal/raid"
)

// Scrub says how far nodes have read all their chunks.
type Scrub struct {
	Nodes []NodeScrub `json:"nodes"`
	// OldestVerified is the time since which every copy was read or stored: UTC,
	// YYYY-MM-DD HH:MM:SS; empty without files.
	OldestVerified string `json:"oldest_verified"`
}

// NodeScrub is that of one node.
type NodeScrub struct {
	Node           raid.NodeID     `json:"node"`
	Name           string          `json:"name"`
	State          raid.ScrubState `json:"state"` // or "unknown"
	BadChunks      int64           `json:"bad_chunks"`
	CheckedChunks  int64           `json:"checked_chunks"`
	OfChunks       int64           `json:"of_chunks"`
	CheckedBytes   int64           `json:"checked_bytes"`
	OfBytes        int64           `json:"of_bytes"`
	FoundBad       int64           `json:"found_bad"`
	BytesPerSecond int64           `json:"bytes_per_second"`
	SecondsLeft    *int64          `json:"seconds_left"`
	NextSeconds    *int64          `json:"next_seconds"`
	LastBegan      *string         `json:"last_began"`
	LastFinished   *string         `json:"last_finished"`
}

// Scrub asks how far nodes are with reading all their chunks.
func (c *Client) Scrub(ctx context.Context) (s Scrub, err error) {
	err = c.get(ctx, "/scrub", nil, &s)
	return s, err
}

// StartScrub has a node read all its chunks now; an empty id: all nodes.
func (c *Client) StartScrub(ctx context.Context, id raid.NodeID) error {
	return c.changeScrub(ctx, id, "start")
}

// PauseScrub stops that until it is started; an empty id: of all nodes.
func (c *Client) PauseScrub(ctx context.Context, id raid.NodeID) error {
	return c.changeScrub(ctx, id, "pause")
}

func (c *Client) changeScrub(ctx context.Context, id raid.NodeID, action string) error {
	wish := struct {
		Node   raid.NodeID `json:"node,omitempty"`
		Action string      `json:"action"`
	}{id, action}
	return c.retry(ctx, nil, func() error { return c.send(ctx, http.MethodPost, "/scrub", wish, nil) })
}
