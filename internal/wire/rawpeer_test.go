package wire

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

func sortNames(names []raid.ChunkName) { slices.Sort(names) }

// rawNode is a node under the test's own hands: it does nothing by itself.
type rawNode struct {
	t     testing.TB
	th    *testHub
	hello hello
	conns [roleCount]*zmtp.Conn
}

func newRawNode(t testing.TB, th *testHub) *rawNode {
	t.Helper()
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &rawNode{t: t, th: th, hello: hello{version: ProtocolVersion, array: testArray, node: newNodeID(t), session: raid.SessionID(id)}}
}

// open makes one connection; a refusal is returned.
func (n *rawNode) open(r role) error {
	h := n.hello
	h.role = r
	c, err := rawConnect(n.t, n.th, r, h.properties())
	n.conns[r] = c
	return err
}

func rawConnect(t testing.TB, th *testHub, r role, p zmtp.Properties) (*zmtp.Conn, error) {
	t.Helper()
	addr, typ := th.request, zmtp.Sub
	switch r {
	case roleStore:
		addr, typ = th.store, zmtp.Pull
	case roleData, roleControl:
		addr, typ = th.response, zmtp.Push
	}
	ctx := within(t, 10*time.Second)
	nc, err := th.net.Dial(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := zmtp.Connect(ctx, nc, zmtp.Config{
		Type: typ, Properties: p, Pool: budget.New(64 << 20),
		Limits: zmtp.Limits{MaxFrame: 16 << 20, MaxMessage: 17 << 20, MaxFrames: 3},
	})
	if c != nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// connect makes a whole session and sends its first heartbeat.
func (n *rawNode) connect() *Session {
	n.t.Helper()
	for r := range roleCount {
		if err := n.open(r); err != nil {
			n.t.Fatalf("%v connection: %v", r, err)
		}
	}
	n.beat()
	e := n.th.events.next(n.t, "up")
	if e.node != n.hello.node {
		n.t.Fatalf("node %s is up, want %s", e.node, n.hello.node)
	}
	return e.sess
}

func (n *rawNode) beat() {
	n.t.Helper()
	n.send(roleControl, &wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: &wirepb.Heartbeat{Chunks: 3}}})
}

// keepBeating sends heartbeats until the test ends, and reads the connections
// that nothing else reads.
func (n *rawNode) keepBeating(read ...role) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n.t.Cleanup(func() { cancel(); <-done })
	for _, r := range read {
		go n.drain(r)
	}
	frame := mustMarshal(n.t, &wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: &wirepb.Heartbeat{Chunks: 3}}})
	go func() {
		defer close(done)
		for n.conns[roleControl].Send(ctx, frame) == nil {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
}

func (n *rawNode) drain(r role) {
	for {
		m, err := n.conns[r].Receive(nil)
		if err != nil {
			return
		}
		m.Release()
	}
}

// send sends a response, with payloads behind it.
func (n *rawNode) send(r role, resp *wirepb.Response, payload ...[]byte) {
	n.t.Helper()
	frames := append([][]byte{mustMarshal(n.t, resp)}, payload...)
	if err := n.conns[r].Send(within(n.t, 10*time.Second), frames...); err != nil {
		n.t.Fatalf("send response: %v", err)
	}
}

// nextStore reads the next Store request.
func (n *rawNode) nextStore() *wirepb.StoredataRequest {
	n.t.Helper()
	m, err := n.conns[roleStore].Receive(nil)
	if err != nil {
		n.t.Fatalf("read store request: %v", err)
	}
	defer m.Release()
	pb := new(wirepb.StoredataRequest)
	if err := proto.Unmarshal(m.Frames[0], pb); err != nil {
		n.t.Fatal(err)
	}
	return pb
}

// nextRequest reads the next request other than a heartbeat.
func (n *rawNode) nextRequest() *wirepb.GetdataRequest {
	n.t.Helper()
	for {
		m, err := n.conns[roleRequest].Receive(nil)
		if err != nil {
			n.t.Fatalf("read request: %v", err)
		}
		pb := new(wirepb.GetdataRequest)
		err = proto.Unmarshal(m.Frames[0], pb)
		m.Release()
		if err != nil {
			n.t.Fatal(err)
		}
		if pb.RequestId != 0 {
			return pb
		}
	}
}

// close ends all connections.
func (n *rawNode) close() {
	for _, c := range n.conns {
		if c != nil {
			c.Close()
		}
	}
}

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ack is the answer to a Store.
func ack(pb *wirepb.StoredataRequest) *wirepb.Response {
	return &wirepb.Response{RequestId: pb.RequestId, Filename: pb.Filename}
}

// getAnswer is the answer to a Get of a chunk with this content.
func getAnswer(pb *wirepb.GetdataRequest, whole []byte) *wirepb.Response {
	return &wirepb.Response{RequestId: pb.RequestId, Filename: pb.Filename, Result: &wirepb.Response_Get{
		Get: &wirepb.GetResult{Length: uint64(len(whole)), BlockCrc32C: raid.BlockChecksums(whole)},
	}}
}
