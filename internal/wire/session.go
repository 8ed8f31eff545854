package wire

import (
	"log/slog"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// Session is one native node's set of connections, from NodeUp to NodeDown. Its
// methods may be called concurrently, and after its end: they fail then with
// raid.ErrPeerGone.
type Session struct {
	hub    *Hub
	node   raid.NodeID
	id     raid.SessionID
	log    *slog.Logger
	window *window

	whole chan struct{} // closed when all connections and the first heartbeat are there
	done  chan struct{} // closed when the session ends
	gone  chan struct{} // closed when its last callback has returned
	prior <-chan struct{}

	due chan struct{} // has room for one: a heartbeat is to be sent

	telling sync.Mutex // held while the observer is called
	told    bool       // of the node, and not yet of its end

	mu          sync.Mutex
	conns       [roleCount]*zmtp.Conn
	addr        string
	heartbeat   Heartbeat
	heartbeatAt time.Time // when it came; zero before the first
	asked       time.Time // the heartbeat that Unanswered is counted from
	calls       map[uint64]*call
	ended       bool
	err         error

	reading bool      // in the middle of a payload
	read    time.Time // the end of the last payload
}

// newSession starts out with no connection. prior closes when the callbacks of
// the node's session before this one are over; nil when there was none.
func newSession(h *Hub, hi hello, prior <-chan struct{}) *Session {
	return &Session{
		hub: h, node: hi.node, id: hi.session, prior: prior,
		log:    h.cfg.Log.With("node", hi.node, "session", hi.session),
		window: newWindow(h.cfg.Window),
		whole:  make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
		due:   make(chan struct{}, 1),
		calls: map[uint64]*call{},
	}
}

// Node is the node's id.
func (s *Session) Node() raid.NodeID { return s.node }

// ID is the session's own id, random for each set of connections.
func (s *Session) ID() raid.SessionID { return s.id }

// Addr is the node's network address, for people.
func (s *Session) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Heartbeat is the latest heartbeat.
func (s *Session) Heartbeat() Heartbeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heartbeat
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session ended; nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// over reports whether the session has ended.
func (s *Session) over() bool { return closed(s.done) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// SilentFor is the time since the last byte on any of the session's connections.
func (s *Session) SilentFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if heard := s.lastHeard(); !heard.IsZero() {
		return time.Since(heard)
	}
	return 0
}

// lastHeard is the time of the last byte; zero before the first connection. s.mu is held.
func (s *Session) lastHeard() (last time.Time) {
	for _, c := range s.conns {
		if c == nil {
			continue
		}
		if at := c.Heard(); at.After(last) {
			last = at
		}
	}
	return last
}

// ReadSilentFor is the time since the last byte of a payload. It is never long for a node that
// serves reads at all, however slowly, while any are asked for.
func (s *Session) ReadSilentFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[roleData]; s.reading && c != nil {
		return c.SilentFor()
	}
	return time.Since(s.read)
}

func (s *Session) setReading(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading, s.read = on, time.Now()
}

// Outstanding counts the payload bytes that the node has not acknowledged, those of Stores that
// were given up included.
func (s *Session) Outstanding() int64 { return s.window.outstanding() }

// StuckFor is the time since the last acknowledgement, or since the first
// unacknowledged Store if that came later. It is 0 when no Store is outstanding.
func (s *Session) StuckFor() time.Duration { return s.window.stuckFor() }

// End closes all connections and fails what is outstanding with
// raid.ErrPeerGone. The first reason counts.
func (s *Session) End(err error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.err = true, err
	conns := s.conns
	failed := make(map[uint64]*call, len(s.calls))
	for id, c := range s.calls {
		if !c.filling {
			failed[id] = c
			delete(s.calls, id)
		}
	}
	close(s.done)
	s.mu.Unlock()
	for _, c := range conns {
		if c != nil {
			c.CloseWith(err)
		}
	}
	s.failAll(failed, err)
}

// isWhole reports whether all connections and a heartbeat are there.
func (s *Session) isWhole() bool { return closed(s.whole) }

// attach gives the session one more of its connections.
func (s *Session) attach(r role, c *zmtp.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return gone("join session of node "+string(s.node), s.err)
	case s.conns[r] != nil:
		return errRoleTaken
	}
	s.conns[r] = c
	if a := c.Peer().Addr; a != nil && s.addr == "" {
		s.addr = a.String()
	}
	s.checkWhole()
	return nil
}

// heard takes a heartbeat in. The first is part of NodeUp.
func (s *Session) heard(b Heartbeat) {
	s.mu.Lock()
	s.heartbeat, s.heartbeatAt = b, time.Now()
	s.checkWhole()
	s.mu.Unlock()
	s.tell(func(o Observer) {
		if s.told {
			o.NodeHeartbeat(s, b)
		}
	})
}

// checkWhole closes whole when nothing is missing any more. s.mu is held.
func (s *Session) checkWhole() {
	for _, c := range s.conns {
		if c == nil {
			return
		}
	}
	if !s.heartbeatAt.IsZero() && !s.isWhole() {
		close(s.whole)
	}
}
