package wire

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
	"github.com/raidpi/raidpi/test/kit"
)

// club is an array's CA and who may not come any more.
type club struct {
	t       testing.TB
	ca      *identity.CA
	own     tls.Certificate
	mu      sync.Mutex
	removed map[raid.NodeID]bool
}

func newClub(t testing.TB, array raid.ArrayID) *club {
	t.Helper()
	c := &club{t: t, removed: map[raid.NodeID]bool{}}
	var err error
	if c.ca, err = identity.OpenCA(t.TempDir(), array, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if c.own, err = c.ca.IssueController(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *club) isRemoved(id raid.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed[id]
}

func (c *club) remove(id raid.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed[id] = true
}

// serve lets the club's nodes into a hub.
func (c *club) serve(cfg *HubConfig) {
	cfg.TLS = c.ca.ServerTLS(c.own, func(id raid.NodeID, _ identity.Pin) error {
		if c.isRemoved(id) {
			return identity.ErrRemoved
		}
		return nil
	})
	cfg.Identify = func(cs tls.ConnectionState) (raid.NodeID, error) {
		id, err := c.ca.PeerNode(cs)
		if err == nil && c.isRemoved(id) {
			err = identity.ErrRemoved
		}
		return id, err
	}
}

// node is the identity of a node of the club.
func (c *club) node(id raid.NodeID) *identity.Node {
	c.t.Helper()
	req, err := identity.Prepare(c.t.TempDir(), identity.Machine{})
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := identity.ReadCSR(req.CSR())
	if err != nil {
		c.t.Fatal(err)
	}
	der, err := c.ca.IssueNode(key, id, rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := req.Complete(der, c.ca.Certificate(), c.ca.Pin().Short())
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// join makes a link that of a node of the club, which never speaks without TLS.
func (c *club) join(cfg *LinkConfig) {
	n := c.node(cfg.Node)
	cfg.Plaintext, cfg.TLS = PlaintextOff, n.ClientTLS
}

func TestSessionsRunInsideTLS(t *testing.T) {
	c := newClub(t, testArray)
	th := startHub(t, &loopback{}, func(cfg *HubConfig) { c.serve(cfg); cfg.Plaintext = PlaintextOff })
	everyRequestReachesItsNode(t, th, c.join)
	if _, err := rawConnect(t, th, roleStore, nil); err == nil || !strings.Contains(err.Error(), "plaintext under [nodes]") {
		t.Errorf("outside of TLS a peer is refused with %v", err)
	}
}

// The demo's nodes, lab peers and joined nodes meet at one controller.
func TestSessionsInsideAndOutsideTLSShareAHub(t *testing.T) {
	c := newClub(t, testArray)
	th := startHub(t, &loopback{}, func(cfg *HubConfig) { c.serve(cfg); cfg.Plaintext = PlaintextLoopback })
	inside, outside := newMemNode(), newMemNode()
	startLink(t, th, inside, c.join)
	startLink(t, th, outside, func(cfg *LinkConfig) { cfg.Plaintext = PlaintextLoopback })
	up := newUpload(t, 1)
	for range 2 {
		s := th.events.next(t, "up").sess
		if err := s.Store(within(t, 10*time.Second), up.store(randomBytes(1<<20))); err != nil {
			t.Error(err)
		}
	}
	in, _ := inside.holds()
	out, _ := outside.holds()
	if in != 1 || out != 1 {
		t.Errorf("the nodes have %d and %d chunks", in, out)
	}
}

func TestStatusTellsWhyThereIsNoTLS(t *testing.T) {
	c, other := newClub(t, testArray), newClub(t, testArray)
	th := startHub(t, &loopback{}, c.serve)
	plain := startHub(t, &loopback{}, nil)
	removed := newNodeID(t)
	c.remove(removed)
	for want, k := range map[string]struct {
		th   *testHub
		node raid.NodeID
		tls  func() *tls.Config
	}{
		// Each end checks the other; whose word comes first is the network's luck.
		"certificate":                    {th, removed, c.node(removed).ClientTLS},
		"is this the controller of":      {th, newNodeID(t), other.node(newNodeID(t)).ClientTLS},
		"does it take TLS on this port?": {plain, newNodeID(t), c.node(newNodeID(t)).ClientTLS},
	} {
		l, _ := startLink(t, k.th, newMemNode(), func(cfg *LinkConfig) { cfg.Node, cfg.TLS = k.node, k.tls })
		kit.Eventually(t, "the status tells: "+want, func() bool { return strings.Contains(l.Status(), want) })
	}
}

// Whoever has one node's key is that node and no other.
func TestOneNodeCannotSpeakAsAnother(t *testing.T) {
	c := newClub(t, testArray)
	th := startHub(t, &loopback{}, c.serve)
	victim := newNodeID(t)
	thief := c.node(newNodeID(t))
	l, _ := startLink(t, th, newMemNode(), func(cfg *LinkConfig) { cfg.Node, cfg.TLS = victim, thief.ClientTLS })
	kit.Eventually(t, "the status tells why", func() bool {
		return strings.Contains(l.Status(), "the certificate is that of node "+string(thief.ID()))
	})
}

// Without TLS a peer proves nothing.
func TestJoinedNodeIsNotServedWithoutTLS(t *testing.T) {
	joined := newNodeID(t)
	th := startHub(t, &loopback{}, func(cfg *HubConfig) {
		cfg.Plaintext = PlaintextAny
		cfg.MayBePlain = func(id raid.NodeID) error {
			if id == joined {
				return errors.New("node " + string(id) + " has joined and must come inside TLS")
			}
			return nil
		}
	})
	l, _ := startLink(t, th, newMemNode(), func(cfg *LinkConfig) { cfg.Node = joined })
	kit.Eventually(t, "the status tells why", func() bool { return strings.Contains(l.Status(), "must come inside TLS") })
}

func TestNativeNodeOfAnotherMachineIsNotServedWithoutTLS(t *testing.T) {
	h := NewHub(HubConfig{Array: testArray, Plaintext: PlaintextAny})
	peer := zmtp.Peer{
		Type: zmtp.Pull, Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234},
		Properties: hello{version: ProtocolVersion, node: newNodeID(t), session: raid.SessionID(newNodeID(t)), role: roleStore}.properties(),
	}
	if _, err := h.admit(peer); err == nil || !strings.Contains(err.Error(), "raid-node join") {
		t.Errorf("admitted: %v", err)
	}
	peer.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1234}
	if _, err := h.admit(peer); err != nil {
		t.Error(err)
	}
	peer.Addr, peer.Properties = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}, nil // a lab peer
	if _, err := h.admit(peer); err != nil {
		t.Error(err)
	}
	peer.TLS = &tls.ConnectionState{}
	if _, err := h.admit(peer); !errors.Is(err, errLabInTLS) {
		t.Errorf("a lab peer inside TLS: %v", err)
	}
}

// A removed node's connections end at once, and it gets no further ones.
func TestRemovalCutsAndKeepsOut(t *testing.T) {
	c := newClub(t, testArray)
	th := startHub(t, &loopback{}, c.serve)
	var id raid.NodeID
	l, _ := startLink(t, th, newMemNode(), func(cfg *LinkConfig) { id = cfg.Node; c.join(cfg) })
	other, _ := startLink(t, th, newMemNode(), c.join)
	th.events.next(t, "up")
	th.events.next(t, "up")
	c.remove(id)
	th.Cut(id, identity.ErrRemoved)
	if e := th.events.next(t, "down"); e.node != id || !errors.Is(e.err, identity.ErrRemoved) {
		t.Errorf("%s is down: %v", e.node, e.err)
	}
	th.Cut(newNodeID(t), identity.ErrRemoved) // nobody
	kit.Eventually(t, "the node tells that it is refused", func() bool { return strings.Contains(l.Status(), "certificate") })
	if !strings.HasPrefix(other.Status(), "Connected") {
		t.Errorf("the other: %s", other.Status())
	}
}

// The node was removed while its connections were being made.
func TestRemovalBetweenHandshakeAndSessionIsNoticed(t *testing.T) {
	c := newClub(t, testArray)
	var asked atomic.Int32
	var id raid.NodeID
	th := startHub(t, &loopback{}, func(cfg *HubConfig) {
		c.serve(cfg)
		identify := cfg.Identify
		cfg.Identify = func(cs tls.ConnectionState) (raid.NodeID, error) {
			named, err := identify(cs)
			if asked.Add(1) == 1 { // in the first handshake, after it was allowed
				c.remove(named)
			}
			return named, err
		}
	})
	l, _ := startLink(t, th, newMemNode(), func(cfg *LinkConfig) { id = cfg.Node; c.join(cfg) })
	kit.Eventually(t, "the node is not served", func() bool {
		th.mu.Lock()
		defer th.mu.Unlock()
		return c.isRemoved(id) && th.nodes[id] == nil && !strings.HasPrefix(l.Status(), "Connected")
	})
	select {
	case e := <-th.events.events:
		t.Errorf("%s %s", e.what, e.node)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestNewKeyIsAskedForAndUsedByTheNextConnection(t *testing.T) {
	c := newClub(t, testArray)
	var due atomic.Bool
	th := startHub(t, &loopback{}, func(cfg *HubConfig) {
		c.serve(cfg)
		cfg.Renew = func(raid.NodeID) bool { return due.Load() }
	})
	asked := make(chan struct{}, 1000)
	var current atomic.Pointer[identity.Node]
	startLink(t, th, newMemNode(), func(cfg *LinkConfig) {
		current.Store(c.node(cfg.Node))
		cfg.TLS = func() *tls.Config { return current.Load().ClientTLS() }
		cfg.RenewKey = func() { asked <- struct{}{} }
	})
	s := th.events.next(t, "up").sess
	time.Sleep(200 * time.Millisecond) // some heartbeats
	if len(asked) > 0 {
		t.Error("a key is asked for that nobody needs")
	}
	due.Store(true)
	<-asked
	current.Store(c.node(s.Node()))
	if s.over() {
		t.Error("the session ended because of the key")
	}
	th.Cut(s.Node(), errors.New("test"))
	again := th.events.next(t, "up").sess
	if got := identity.KeyOf(*again.conns[roleStore].Peer().TLS); got != current.Load().Key() {
		t.Error("the next connection uses the old key")
	}
}

// A stranger says on each port that it is a connected node's session, without TLS
// and with a certificate of another node, and sends what that would send.
func TestForgedAnswersChangeNothing(t *testing.T) {
	c := newClub(t, testArray)
	th := startHub(t, &loopback{}, func(cfg *HubConfig) {
		c.serve(cfg)
		cfg.Plaintext = PlaintextAny
		cfg.MayBePlain = func(raid.NodeID) error { return errors.New("it has joined") }
	})
	n := newMemNode()
	startLink(t, th, n, c.join)
	s := th.events.next(t, "up").sess
	thief := c.node(newNodeID(t))
	beats := th.events.beatsOf(s.Node())
	for _, inside := range []func() *tls.Config{nil, thief.ClientTLS} {
		for r, typ := range map[role]zmtp.SocketType{roleStore: zmtp.Pull, roleData: zmtp.Push, roleControl: zmtp.Push, roleRequest: zmtp.Sub} {
			nc, err := th.net.Dial(t.Context(), "tcp", map[role]string{roleStore: th.store, roleData: th.response, roleControl: th.response, roleRequest: th.request}[r])
			if err != nil {
				t.Fatal(err)
			}
			cfg := zmtp.Config{Type: typ, Properties: hello{version: ProtocolVersion, array: testArray, node: s.Node(), session: s.ID(), role: r}.properties()}
			if inside != nil {
				cfg.TLS = inside()
			}
			conn, err := zmtp.Connect(t.Context(), nc, cfg)
			if err == nil {
				t.Errorf("%v: let in with TLS %v", r, inside != nil)
				_ = conn.Send(t.Context(), []byte("\x08\x01")) // "request 1 is done"
				conn.Close()
			}
		}
	}
	up := newUpload(t, 1)
	err := s.Store(within(t, 10*time.Second), up.store(randomBytes(100_000)))
	if chunks, _ := n.holds(); err != nil || s.over() || chunks != 1 {
		t.Errorf("the node's own session: %v, over %v, chunks %d", err, s.over(), chunks)
	}
	if th.events.beatsOf(s.Node()) < beats {
		t.Error("its heartbeats are not counted")
	}
}

// A lab peer sees what other lab peers see, and can answer for no native node.
func TestLabPeersForgedAnswersDoNotReachNativeSessions(t *testing.T) {
	c := newClub(t, testArray)
	th := startHub(t, &loopback{}, func(cfg *HubConfig) { c.serve(cfg); cfg.Plaintext = PlaintextAny })
	n := newMemNode()
	startLink(t, th, n, c.join)
	s := th.events.next(t, "up").sess
	conn, err := rawConnect(t, th, roleControl, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	up := newUpload(t, 3)
	for range 3 {
		req := up.store(randomBytes(100_000))
		name := []byte(req.Meta.Key.Name())
		for id := range byte(20) { // an acknowledgement of each request that there may be, in both tongues
			_ = conn.Send(t.Context(), append([]byte{0x08, id, 0x12, byte(len(name))}, name...))
			_ = conn.Send(t.Context(), name)
		}
		if err := s.Store(within(t, 10*time.Second), req); err != nil {
			t.Error(err)
		}
	}
	if chunks, _ := n.holds(); chunks != 3 || s.over() {
		t.Errorf("%d chunks are on the node, session over %v", chunks, s.over())
	}
}

// All four connections have passed their handshakes when the node is removed, and
// none has joined a session that could be cut.
func TestRemovalWhenAllHandshakesAreOverIsNoticed(t *testing.T) {
	c := newClub(t, testArray)
	var asked atomic.Int32
	admitted := make(chan struct{}, roleCount)
	release := make(chan struct{})
	th := startHub(t, &loopback{}, func(cfg *HubConfig) {
		c.serve(cfg)
		identify := cfg.Identify
		cfg.Identify = func(cs tls.ConnectionState) (raid.NodeID, error) {
			id, err := identify(cs)
			if asked.Add(1) <= int32(roleCount) { // what was true before the removal
				admitted <- struct{}{}
				<-release
			}
			return id, err
		}
	})
	n := c.node(newNodeID(t))
	session := raid.SessionID(newNodeID(t))
	var conns sync.WaitGroup
	for r, typ := range map[role]zmtp.SocketType{roleStore: zmtp.Pull, roleData: zmtp.Push, roleControl: zmtp.Push, roleRequest: zmtp.Sub} {
		nc, err := th.net.Dial(t.Context(), "tcp", map[role]string{roleStore: th.store, roleData: th.response, roleControl: th.response, roleRequest: th.request}[r])
		if err != nil {
			t.Fatal(err)
		}
		conns.Go(func() {
			conn, err := zmtp.Connect(t.Context(), nc, zmtp.Config{
				Type: typ, TLS: n.ClientTLS(), HandshakeTimeout: 10 * time.Second,
				Properties: hello{version: ProtocolVersion, array: testArray, node: n.ID(), session: session, role: r}.properties(),
			})
			if err != nil {
				return
			}
			defer conn.Close()
			if r == roleControl { // its first heartbeat would make the session whole
				beat, _ := proto.Marshal(&wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: encodeHeartbeat(Heartbeat{})}})
				_ = conn.Send(t.Context(), beat)
			}
			_, _ = conn.Receive(nil) // until it is closed
		})
	}
	for range roleCount {
		<-admitted
	}
	c.remove(n.ID())
	th.Cut(n.ID(), identity.ErrRemoved)
	close(release)
	conns.Wait()
	select {
	case e := <-th.events.events:
		t.Errorf("%s: %s", e.what, e.node)
	default:
	}
}
