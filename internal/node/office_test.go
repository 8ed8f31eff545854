package node_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/test/kit"
)

// office is a controller that nodes can join: a real Hub inside TLS, and an HTTP
// port that checks proofs, hands out certificates, and can be told to say no.
type office struct {
	*controller
	ca   *identity.CA
	port int

	mu      sync.Mutex
	tokens  map[string]*ticket
	keys    map[raid.NodeID]identity.Pin
	names   map[raid.NodeID]string
	removed map[raid.NodeID]bool
	calls   int
	renew   bool
	last    request
	before  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	after   func(w http.ResponseWriter, r *http.Request) bool // the same, when the work is done
}

type ticket struct {
	token identity.Token
	spent int
}

// request is all that nodes send.
type request struct {
	Protocol   int    `json:"protocol"`
	Version    string `json:"version"`
	Token      string `json:"token"`
	CSR, Proof []byte
	Node       raid.NodeID `json:"node"`
	Name       string      `json:"name"`
	Force      bool        `json:"force"`
}

func startOffice(t *testing.T, array raid.ArrayID) *office {
	t.Helper()
	o := &office{
		controller: &controller{t: t, up: make(chan *wire.Session, 100)}, tokens: map[string]*ticket{}, keys: map[raid.NodeID]identity.Pin{},
		names: map[raid.NodeID]string{}, removed: map[raid.NodeID]bool{},
	}
	o.commit.Store(100)
	var err error
	o.ca, err = identity.OpenCA(t.TempDir(), array, rand.Reader)
	must(t, err)
	own, err := o.ca.IssueController(rand.Reader)
	must(t, err)
	https, err := o.ca.IssueHTTPS(identity.Hosts{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, time.Now(), rand.Reader)
	must(t, err)
	members := o.ca.ServerTLS(own, o.check)
	anyMember := o.ca.ServerTLS(own, func(raid.NodeID, identity.Pin) error { return nil }) // who was removed is told
	var ln [4]net.Listener
	for i := range ln {
		ln[i], err = net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
	}
	for i := range o.ports {
		o.ports[i] = ln[i].Addr().(*net.TCPAddr).Port
	}
	o.port = ln[3].Addr().(*net.TCPAddr).Port
	o.hub = wire.NewHub(wire.HubConfig{
		Array: array, Store: ln[0], Response: ln[1], Request: ln[2], TLS: members, Identify: o.ca.PeerNode,
		Renew: func(raid.NodeID) bool { o.mu.Lock(); defer o.mu.Unlock(); return o.renew },
		Pool:  budget.New(64 << 20), Commit: o.commit.Load, Observer: o.controller, Heartbeat: 50 * time.Millisecond,
		Suspect: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	background(t, o.hub.Run)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/nodes/join", o.serve(o.join))
	mux.HandleFunc("POST /v1/nodes/renew", o.serve(o.renewKey))
	mux.HandleFunc("POST /v1/nodes/leave", o.serve(o.leave))
	srv := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	background(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { srv.Close() })()
		err := srv.Serve(tls.NewListener(ln[3], o.ca.PortTLS(func() *tls.Certificate { return &https }, anyMember)))
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	return o
}

// check is asked at each handshake.
func (o *office) check(id raid.NodeID, key identity.Pin) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.removed[id]:
		return identity.ErrRemoved
	case o.keys[id] != key:
		return identity.ErrForeign
	}
	return nil
}

// token makes one with a single use.
func (o *office) token() identity.Token {
	token, err := identity.NewToken(o.ca.Pin(), rand.Reader)
	must(o.t, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens[token.ID()] = &ticket{token: token}
	return token
}

func (o *office) spent(token identity.Token) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tokens[token.ID()].spent
}

// will sets what happens to the next requests, before and after the work.
func (o *office) will(before, after func(w http.ResponseWriter, r *http.Request) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.before, o.after = before, after
}

// say answers everything with a status and a message.
func say(status int, message string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
		return true
	}
}

// breakOff ends the connection without an answer.
func breakOff(w http.ResponseWriter, _ *http.Request) bool { panic(http.ErrAbortHandler) }

func (o *office) serve(work func(*http.Request, request) (any, int, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.calls++
		if o.before != nil && o.before(w, r) {
			return
		}
		var req request
		in := json.NewDecoder(r.Body)
		in.DisallowUnknownFields()
		if err := in.Decode(&req); err != nil {
			say(http.StatusBadRequest, err.Error())(w, r)
			return
		}
		o.last = req
		answer, status, message := work(r, req)
		switch {
		case o.after != nil && o.after(w, r):
		case message != "":
			say(status, message)(w, r)
		default:
			_ = json.NewEncoder(w).Encode(answer)
		}
	}
}

func (o *office) join(r *http.Request, req request) (any, int, string) {
	key, err := identity.ReadCSR(req.CSR)
	if err != nil {
		return nil, http.StatusBadRequest, err.Error()
	}
	k := o.tokens[req.Token]
	switch {
	case k == nil || k.token.CheckProof(*r.TLS, req.CSR, req.Proof) != nil:
		return nil, http.StatusUnauthorized, "This token is not known"
	case o.removed[req.Node]:
		return nil, http.StatusForbidden, "node " + string(req.Node) + " was removed from this array."
	case o.keys[req.Node] == key.Pin():
	case o.keys[req.Node] != identity.Pin{}:
		return nil, http.StatusConflict, "there is a node of this id with another key"
	case k.spent > 0:
		return nil, http.StatusUnauthorized, "This token has no uses left (used by " + o.names[req.Node] + "). On the controller: sudo raidctl token create"
	default:
		k.spent++
		o.keys[req.Node], o.names[req.Node] = key.Pin(), req.Name
	}
	return o.certify(key, req.Node)
}

func (o *office) certify(key identity.NodeKey, id raid.NodeID) (any, int, string) {
	der, err := o.ca.IssueNode(key, id, rand.Reader)
	if err != nil {
		return nil, http.StatusInternalServerError, err.Error()
	}
	return map[string]any{
		"array": o.ca.Array(), "node": id, "certificate": der, "ca": o.ca.Certificate(),
		"store_port": o.ports[0], "response_port": o.ports[1], "request_port": o.ports[2], "nodes_up": 2, "nodes": 3, "news": 1,
	}, 0, ""
}

func (o *office) renewKey(r *http.Request, req request) (any, int, string) {
	id, err := o.ca.PeerNode(*r.TLS)
	if err != nil {
		return nil, http.StatusForbidden, err.Error()
	}
	key, err := identity.ReadCSR(req.CSR)
	if err != nil {
		return nil, http.StatusBadRequest, err.Error()
	}
	if status := o.standing(r, id); status != 0 {
		return nil, status, "not now"
	}
	o.keys[id], o.renew = key.Pin(), false
	return o.certify(key, id)
}

func (o *office) leave(r *http.Request, req request) (any, int, string) {
	id, err := o.ca.PeerNode(*r.TLS)
	if err != nil {
		return nil, http.StatusForbidden, err.Error()
	}
	if status := o.standing(r, id); status != 0 {
		return nil, status, "not any more"
	}
	o.removed[id] = true
	return struct{}{}, 0, ""
}

// joinState is the status that a member which is none any more is told with.
func (o *office) standing(r *http.Request, id raid.NodeID) int {
	switch {
	case o.removed[id]:
		return http.StatusGone
	case o.keys[id] != identity.KeyOf(*r.TLS):
		return http.StatusForbidden
	}
	return 0
}

func (o *office) remove(id raid.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removed[id] = true
}

// newMember is a node that may join: it talks to nobody without TLS, and has a
// control socket.
func newMember(t *testing.T, o *office) *testNode {
	n := newNode(t, o.controller)
	n.cfg.Controller, n.cfg.Fallback = node.ControllerAddress{}, node.ControllerAddress{Host: "127.0.0.1", HTTPPort: o.port, StorePort: 1, ResponsePort: 2, RequestPort: 3}
	n.cfg.Plaintext, n.cfg.Name, n.cfg.MachineID = wire.PlaintextOff, "pi-2", "0123456789abcdef"
	n.cfg.ControlSocket = filepath.Join(n.cfg.StateDir, "..", "c")
	n.cfg.Now, n.cfg.Built = time.Now, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return n
}

func (n *testNode) remote() node.Remote {
	n.t.Helper()
	kit.Eventually(n.t, "the control socket is there", func() bool {
		_, err := node.Remote{Socket: n.cfg.ControlSocket}.Status(n.t.Context())
		return err == nil
	})
	return node.Remote{Socket: n.cfg.ControlSocket}
}

func (n *testNode) now() *node.Status {
	n.t.Helper()
	s, err := n.remote().Status(n.t.Context())
	must(n.t, err)
	return s
}

func (n *testNode) join(o *office, token identity.Token) *node.Done {
	n.t.Helper()
	done, err := n.remote().Join(n.t.Context(), orderFor(o, token))
	must(n.t, err)
	return done
}

func orderFor(o *office, token identity.Token) node.JoinOrder {
	return node.JoinOrder{Host: "127.0.0.1", Port: o.port, Token: token.String()}
}

// wantFailure checks words and exit status.
func wantFailure(t *testing.T, err error, exit int, words ...string) {
	t.Helper()
	var f *node.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error %v, want a Failure with status %d", err, exit)
	}
	if f.Exit != exit {
		t.Errorf("status %d, want %d: %s", f.Exit, exit, f.Message)
	}
	for _, w := range words {
		if !strings.Contains(f.Message, w) {
			t.Errorf("%q does not say %q", f.Message, w)
		}
	}
}
