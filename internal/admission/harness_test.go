package admission

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	array = raid.ArrayID("0123456789abcdefghijkl")
	hour  = time.Hour
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// place is an array's controller, as far as it lets nodes in and out.
type place struct {
	*Registrar
	ca           *identity.CA
	book         *memStore
	log          *kit.Log
	leaf, own    tls.Certificate
	port, member *tls.Config // port 9000, and those of nodes

	mu   sync.Mutex
	live map[raid.NodeID]bool
	cuts []raid.NodeID
}

func newPlace(t testing.TB, change ...func(*Config)) *place {
	t.Helper()
	p := &place{book: newMemStore(), log: &kit.Log{}, live: map[raid.NodeID]bool{}}
	p.ca = must(identity.OpenCA(t.TempDir(), array, rand.Reader))(t)
	cfg := Config{
		CA: p.ca, Store: p.book, Live: p.isLive, Cut: p.cut, Counts: func(raid.NodeID) (int, int) { return 2, 3 },
		Ports: [3]int{5557, 5558, 5559}, MinProtocol: 2, MaxProtocol: 3, Version: "0.3",
		Log: slog.New(slog.NewTextHandler(p.log, nil)), Random: rand.Reader,
	}
	for _, c := range change {
		c(&cfg)
	}
	p.Registrar = New(cfg)
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.leaf = must(p.ca.IssueHTTPS(identity.Hosts{DNS: []string{"controller.local"}}, time.Unix(20, 0), rand.Reader))(t)
	p.own = must(p.ca.IssueController(rand.Reader))(t)
	p.use(p.Registrar)
	return p
}

// use has another registrar asked, as after a restart.
func (p *place) use(d *Registrar) {
	p.Registrar = d
	p.member = p.ca.ServerTLS(p.own, d.CheckKey)
	p.port = p.ca.PortTLS(func() *tls.Certificate { return &p.leaf }, p.member)
}

// restart makes a new registrar with the same store.
func (p *place) restart(t testing.TB) {
	t.Helper()
	d := New(p.cfg)
	if err := d.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.use(d)
}

// run has what was seen written down until the test ends.
func (p *place) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (p *place) isLive(id raid.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live[id]
}

func (p *place) setLive(id raid.NodeID, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live[id] = live
}

func (p *place) cut(id raid.NodeID, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = append(p.cuts, id)
}

func (p *place) wasCut(id raid.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.cuts, id)
}

// token is a good one.
func (p *place) token(t testing.TB, uses int, node raid.NodeID) identity.Token {
	t.Helper()
	token, _, err := p.CreateToken(uses, hour, node, "")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// pi is a machine with a node.
type pi struct {
	id   raid.NodeID
	name string
	dir  string
}

func newPi(t testing.TB, name string) *pi {
	t.Helper()
	return &pi{raid.NodeID(must(raid.NewID(rand.Reader))(t)), name, t.TempDir()}
}

func (n *pi) identity(t testing.TB) *identity.Node {
	t.Helper()
	return must(identity.LoadNode(n.dir, identity.Machine{1}))(t)
}

func (n *pi) prepare(t testing.TB) *identity.Request {
	t.Helper()
	return must(identity.Prepare(n.dir, identity.Machine{1}))(t)
}

func (n *pi) complete(t testing.TB, r *identity.Request, c raid.Certificate) {
	t.Helper()
	pin := must(pinOf(c.CA))(t)
	if _, err := r.Complete(c.DER, c.CA, pin.Short()); err != nil {
		t.Fatal(err)
	}
}

// request is what the node sends over a connection.
func (n *pi) request(t testing.TB, token identity.Token, cs tls.ConnectionState, r *identity.Request) raid.JoinRequest {
	t.Helper()
	return raid.JoinRequest{
		Protocol: 3, Version: "0.3", Token: token.ID(), CSR: r.CSR(), Proof: must(token.Prove(cs, r.CSR()))(t), Node: n.id, Name: n.name,
	}
}

// meet connects two configurations: over TCP, or in memory for synctest, whose
// time stands still while somebody reads from the network. A byte goes each way.
func meet(t testing.TB, inMemory bool, server, client *tls.Config) (s, c tls.ConnectionState, sErr, cErr error) {
	t.Helper()
	a, b := net.Pipe()
	if !inMemory {
		l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
		defer l.Close()
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := l.Accept()
			accepted <- conn
		}()
		b = must(net.Dial("tcp", l.Addr().String()))(t)
		a = <-accepted
	}
	type end struct {
		cs  tls.ConnectionState
		err error
	}
	done := make(chan end)
	go func() {
		cs, err := talk(tls.Server(a, server))
		done <- end{cs, err}
	}()
	c, cErr = talk(tls.Client(b, client))
	e := <-done
	return e.cs, c, e.err, cErr
}

func talk(conn *tls.Conn) (cs tls.ConnectionState, err error) {
	defer conn.NetConn().Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := conn.Handshake(); err != nil {
		return cs, err
	}
	wrote := make(chan error, 1)
	go func() { // in memory, a write waits for the other's read
		_, err := conn.Write([]byte{1})
		wrote <- err
	}()
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn.ConnectionState(), errors.Join(err, <-wrote)
}

// join is a whole join over a connection of its own.
func (p *place) join(t testing.TB, inMemory bool, n *pi, token identity.Token) (raid.Certificate, error) {
	t.Helper()
	s, c, sErr, cErr := meet(t, inMemory, p.port, token.ClientTLS())
	if sErr != nil || cErr != nil {
		t.Fatalf("%v, %v", sErr, cErr)
	}
	r := n.prepare(t)
	cert, err := p.Join(t.Context(), s, n.request(t, token, c, r))
	if err == nil {
		n.complete(t, r, cert)
	}
	return cert, err
}

// joined is a node that has joined.
func (p *place) joined(t testing.TB, name string) *pi {
	t.Helper()
	n := newPi(t, name)
	if _, err := p.join(t, false, n, p.token(t, 1, "")); err != nil {
		t.Fatal(err)
	}
	return n
}

// connect is a handshake on a node's port with a configuration of the node, and
// what follows it.
func (p *place) connect(t testing.TB, client *tls.Config) (raid.NodeID, error) {
	t.Helper()
	s, _, sErr, cErr := meet(t, false, p.member, client)
	if sErr != nil {
		if cErr == nil {
			t.Error("the node was not told")
		}
		return "", sErr
	}
	return p.Identify(s)
}

// dialPort is the node's connection to port 9000, as the controller sees it.
func (p *place) dialPort(t testing.TB, n *identity.Node) tls.ConnectionState {
	t.Helper()
	s, _, sErr, cErr := meet(t, false, p.port, n.PortTLS())
	if sErr != nil || cErr != nil {
		t.Fatalf("%v, %v", sErr, cErr)
	}
	return s
}

// serve answers joins over TCP, a line of JSON each, until the test ends.
func (p *place) serve(t testing.TB) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { p.answer(tls.Server(conn, p.port)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wait.Wait()
	})
	return l.Addr().String()
}

// reply is the answer to a line.
type reply struct {
	Certificate raid.Certificate
	Text        string
}

func (p *place) answer(conn *tls.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var req raid.JoinRequest
	if json.NewDecoder(conn).Decode(&req) != nil {
		return
	}
	var r reply
	cert, err := p.Join(context.Background(), conn.ConnectionState(), req)
	if r.Certificate = cert; err != nil {
		r.Text = err.Error()
	}
	_ = json.NewEncoder(conn).Encode(r)
}

// ask sends a request over a connection.
func ask(conn *tls.Conn, req raid.JoinRequest) (r reply, err error) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return r, err
	}
	err = json.NewDecoder(conn).Decode(&r)
	return r, err
}

// wants checks an error by its sentinel and words of its text.
func wants(t testing.TB, what string, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
}

// secretOf is the part of a token that nobody else may see.
func secretOf(token identity.Token) string { return strings.Split(token.String(), "-")[3] }
