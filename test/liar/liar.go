package liar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// Config says where the controller is, and who the liar is.
type Config struct {
	Dir      string // for its key and certificate
	Host     string // of the controller; empty: 127.0.0.1
	HTTPPort int
	Token    string // a join token
	ID       string // node id; empty: a random one
	Name     string // host name that it gives; empty: "liar"
}

// Heartbeat and Response are the messages of a node, see proto/messages.proto.
type (
	Heartbeat = wirepb.Heartbeat
	Response  = wirepb.Response
)

// Role is one of a session's four connections.
type Role string

// The connections of a session.
const (
	Request Role = "request" // port 5559
	Control Role = "control" // port 5558: answers and heartbeats
	Data    Role = "data"    // port 5558: payloads
	Store   Role = "store"   // port 5557
)

// Liar is a member of an array. Its methods may be called concurrently.
type Liar struct {
	cfg    Config
	answer raid.Certificate // of the controller, to joining

	mu      sync.Mutex
	who     *identity.Node
	greet   func(Role, map[string]string)
	change  func(*Heartbeat)
	reply   Answerer
	chunks  map[string]*chunk
	heard   raid.Commit // the highest commit number
	session *session
}

// session is one set of connections.
type session struct {
	id    string
	conns map[Role]*zmtp.Conn
	ctx   context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
}

// ID is its node id.
func (l *Liar) ID() string { return l.cfg.ID }

// Greet has change called for the properties of each connection's READY, which are
// written with a leading "X-" on the wire.
func (l *Liar) Greet(change func(r Role, properties map[string]string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.greet = change
}

// OnHeartbeat has change called for each heartbeat, which is honest before. Nil: it stays so.
func (l *Liar) OnHeartbeat(change func(*Heartbeat)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change = change
}

// Connect makes a session and its first heartbeat, and serves it until Close or until the
// controller ends it. A liar has one session at a time: the one before is closed. For some
// milliseconds the controller may refuse the next one, as a clone's.
func (l *Liar) Connect(ctx context.Context) error {
	l.Close()
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		return err
	}
	s := &session{id: id, conns: map[Role]*zmtp.Conn{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	for _, r := range []Role{Request, Control, Data, Store} {
		if s.conns[r], err = l.open(ctx, s, r); err != nil {
			s.close()
			return fmt.Errorf("open the %s connection: %w", r, err)
		}
	}
	if err := s.conns[Request].Send(ctx, []byte{1}); err != nil { // subscribe to everything
		s.close()
		return err
	}
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	if err := l.SendHeartbeat(ctx); err != nil {
		return err
	}
	l.serve(s)
	return nil
}

func (l *Liar) open(ctx context.Context, s *session, r Role) (*zmtp.Conn, error) {
	port, kind := l.answer.RequestPort, zmtp.Sub
	switch r {
	case Store:
		port, kind = l.answer.StorePort, zmtp.Pull
	case Control, Data:
		port, kind = l.answer.ResponsePort, zmtp.Push
	}
	props := zmtp.Properties{
		"raid-v": strconv.Itoa(wire.ProtocolVersion), "raid-array": string(l.answer.Array),
		"raid-node": l.cfg.ID, "raid-session": s.id,
	}
	if kind == zmtp.Push {
		props["raid-role"] = string(r)
	}
	l.mu.Lock()
	greet, who := l.greet, l.who
	l.mu.Unlock()
	if greet != nil {
		greet(r, props)
	}
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(l.cfg.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return zmtp.Connect(ctx, nc, zmtp.Config{
		Type: kind, TLS: who.ClientTLS(), Properties: maps.Clone(props), Pool: budget.New(256 << 20), PingEvery: 10 * time.Second,
		Limits: zmtp.Limits{MaxFrame: 64 << 20, MaxMessage: 65 << 20, MaxFrames: 3},
	})
}

// close ends the session and waits for all that it started. A hook that does not heed
// its context is waited for.
func (s *session) close() {
	s.end()
	for _, c := range s.conns {
		if c != nil {
			c.Close()
		}
	}
	s.tasks.Wait()
}

// Close ends the session, as a cable that is pulled does.
func (l *Liar) Close() {
	l.mu.Lock()
	s := l.session
	l.session = nil
	l.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// Done is closed when the controller has ended the session, or Close has.
func (l *Liar) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return l.session.ctx.Done()
}

var errNoSession = errors.New("the liar has no session")

// Send sends any frames on a connection.
func (l *Liar) Send(ctx context.Context, r Role, frames ...[]byte) error {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil {
		return errNoSession
	}
	return s.conns[r].Send(ctx, frames...)
}

// SendHeartbeat sends a heartbeat at once.
func (l *Liar) SendHeartbeat(ctx context.Context) error {
	l.mu.Lock()
	change := l.change
	b := &Heartbeat{
		TotalBytes: 64 << 30, FreeBytes: 32 << 30, Chunks: uint64(len(l.chunks)), HighestCommit: l.heard.Number, Scanned: true, Version: "liar",
		ProvenCommit: l.heard.Number, ProvenMac: l.heard.MAC.Bytes(),
	}
	l.mu.Unlock()
	if change != nil {
		change(b)
	}
	frame, err := proto.Marshal(&Response{Result: &wirepb.Response_Heartbeat{Heartbeat: b}})
	if err != nil {
		return err
	}
	return l.Send(ctx, Control, frame)
}
