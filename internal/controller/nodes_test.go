package controller

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
)

// remembered are the nodes in the catalog of a stopped controller.
func (a *array) remembered() []raid.NodeRecord {
	a.t.Helper()
	c, err := catalog.Open(a.t.Context(), catalog.Config{Path: filepath.Join(a.dir, "controller", CatalogFile)})
	if err != nil {
		a.t.Fatal(err)
	}
	defer c.Close()
	nodes, err := c.Nodes(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return nodes
}

// Anybody can say hello under a new name, as often as he likes.
func TestNodesThatNeverGotAChunkLeaveNothing(t *testing.T) {
	a := newArray(t, 2, func(c *Config) { c.Settle = 30 * time.Second })
	b := randomBytes(1000)
	id := a.upload(b).ID
	for range 3 {
		stranger := a.addNode("attic")
		a.awaitUp(3)
		time.Sleep(600 * time.Millisecond) // a heartbeat, and the search for leftovers
		stranger.stop()
		a.eventually("only the two nodes are listed", func() bool {
			return a.nodesIn(raid.Up) == 2 && a.nodesIn(raid.Down) == 0
		})
	}
	a.mustEqual(id, b)
	a.stopController()
	if nodes := a.remembered(); len(nodes) != 2 {
		t.Errorf("remembered: %+v", nodes)
	}
	a.startController()
	a.awaitUp(2)
	began := time.Now()
	a.upload(b)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the upload waited %v for strangers", took)
	}
}

func TestNodesAreRememberedFromTheirFirstChunkOn(t *testing.T) {
	a := newArray(t, 0, nil)
	a.addNode("attic")
	a.addNode("cellar")
	a.awaitUp(2)
	a.upload(randomBytes(1000))
	a.eventually("both nodes have been looked through", func() bool {
		var now struct {
			Unexplained *int64 `json:"unexplained_chunks"` // counted after that
		}
		a.getJSON("/status", &now)
		return now.Unexplained != nil
	})
	a.stopController()
	nodes := a.remembered()
	for _, n := range nodes {
		// Its own word for its zone is none of what is remembered.
		if n.Zone != "" || n.Address == "" || n.CleanedRun != 1 || n.Disk <= 0 {
			t.Errorf("remembered: %+v", n)
		}
	}
	if len(nodes) != 2 {
		t.Errorf("remembered: %+v", nodes)
	}
}

// A node that dies before the upload which gave it a chunk is finished must be
// given grace and then be replaced, as any other.
func TestANodeThatIsGivenAChunkIsNotForgotten(t *testing.T) {
	a := newArray(t, 3, func(c *Config) { c.StripeSize = 64 << 10 })
	r := newSlowBody(randomBytes(40 * 64 << 10))
	done := make(chan info, 1)
	go func() { _, i := a.tryUpload(r); done <- i }()
	a.eventually("chunks on the first node", func() bool { return len(a.nodes[0].chunks()) > 0 })
	a.nodes[0].stop()
	a.eventually("the node is listed as down", func() bool { return a.nodesIn(raid.Down) == 1 })
	r.finish()
	if i := <-done; i.ID == 0 {
		t.Errorf("upload: %s", i.Message)
	}
}

// slowBody gives its second half only when it is told to.
type slowBody struct {
	b    []byte
	half int
	at   int
	more chan struct{}
}

func newSlowBody(b []byte) *slowBody {
	return &slowBody{b: b, half: len(b) / 2, more: make(chan struct{})}
}

func (s *slowBody) finish() { close(s.more) }

func (s *slowBody) Read(p []byte) (int, error) {
	end := s.half
	if s.at >= s.half {
		<-s.more
		end = len(s.b)
	}
	if s.at == end {
		return 0, io.EOF
	}
	n := copy(p, s.b[s.at:end])
	s.at += n
	return n, nil
}

// listedNode is a row of /nodes.
type listedNode struct {
	ID, State, Version, Address string
	TotalBytes                  int64  `json:"total_bytes"`
	FreeBytes                   int64  `json:"free_bytes"`
	Chunks                      int64  `json:"chunks"`
	LastSeen                    string `json:"last_seen"`
	Recalled                    bool   `json:"recalled"`
}

func (a *array) listed() map[string]listedNode {
	a.t.Helper()
	var got struct{ Nodes []listedNode }
	a.getJSON("/nodes", &got)
	all := map[string]listedNode{}
	for _, n := range got.Nodes {
		all[n.ID] = n
	}
	return all
}

func TestNodesThatAreAwayAreShownAsTheyWereAfterARestart(t *testing.T) {
	a := joined(t, 2, closed)
	a.upload(randomBytes(100_000))
	for range 2 {
		ids := []string{string(nodeIDOf(t, a.nodes[0])), string(nodeIDOf(t, a.nodes[1]))}
		a.eventually("heartbeats tell of the chunks", func() bool { return a.listed()[ids[0]].Chunks > 0 && a.listed()[ids[1]].Chunks > 0 })
		before := a.listed()
		a.stopController()
		for _, n := range a.nodes {
			n.stop()
		}
		a.startController()
		for _, id := range ids {
			was, is := before[id], a.listed()[id]
			if is.State != "down" || !is.Recalled || is.LastSeen < was.LastSeen || is.TotalBytes != was.TotalBytes || is.FreeBytes <= 0 || is.Chunks != was.Chunks || is.Version != "test" || is.Address == "" {
				t.Errorf("%s: was %+v, is shown as %+v", id, was, is)
			}
		}
		for _, n := range a.nodes {
			a.startNode(n, "")
		}
		a.awaitUp(2)
		for _, n := range a.listed() {
			if n.Recalled {
				t.Errorf("up, and shown as it was: %+v", n)
			}
		}
		a.upload(randomBytes(100_000))
	}
}
