package wire

import (
	"github.com/raidpi/raidpi/internal/raid"
)

// call is one request that waits for its answer. Its fields are guarded by
// Session.mu after it was entered into the table, but for those that never
// change.
type call struct {
	id     uint64
	name   raid.ChunkName
	dst    []byte // of a Get
	expect int64  // of a Get: length of the whole payload
	charge int64  // of a Store: what it holds of the window
	kind   callKind
	// unchecked: of a Get that wants no checksums.
	unchecked bool

	// filling: the reader of the data connection writes into dst. From then on
	// only that reader ends the call.
	filling bool
	outcome chan outcome // receives exactly one, has room for it
}

type callKind int

const (
	callStore callKind = iota
	callGet
	callOther
)

// outcome is the end of a call.
type outcome struct {
	resp response
	get  GetResult // of a Get that succeeded
	err  error
}

// enter puts a call into the table, unless the session is over.
func (s *Session) enter(c *call) error {
	s.hub.use()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return gone("ask node "+string(s.node), s.err)
	}
	s.calls[c.id] = c
	return nil
}

// leave takes a call that its caller gives up out of the table. It reports false when the outcome
// is there, or when only the rest of the peer's bytes delays it. Then the caller must wait for it.
func (s *Session) leave(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] != c || c.filling {
		return false
	}
	delete(s.calls, c.id)
	return true
}

// answer matches a response of the control connection to its call. Late ones,
// and those whose name is not the call's, are without effect.
func (s *Session) answer(r response) {
	s.mu.Lock()
	c := s.calls[r.id]
	if c == nil || c.name != r.name || c.filling {
		s.mu.Unlock()
		return
	}
	delete(s.calls, r.id)
	s.mu.Unlock()
	if c.kind == callStore {
		s.window.release(c.charge)
	}
	o := outcome{resp: r, err: r.err}
	if c.kind == callGet && r.err == nil {
		o.err = errWrongConnection
	}
	c.outcome <- o
}

// fill finds the Get that a response on the data connection answers. From then on the caller, the
// reader of that connection, has to end it. It is nil when nothing waits for this answer.
func (s *Session) fill(r response) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[r.id]
	if c == nil || c.name != r.name || c.kind != callGet || c.filling {
		return nil
	}
	c.filling = true
	return c
}

// filled ends a Get that fill has returned.
func (s *Session) filled(c *call, o outcome) {
	s.mu.Lock()
	delete(s.calls, c.id)
	s.mu.Unlock()
	c.outcome <- o
}

// failAll ends every call that no reader has in its hands.
func (s *Session) failAll(calls map[uint64]*call, why error) {
	for _, c := range calls {
		c.outcome <- outcome{err: gone("wait for the answer of node "+string(s.node), why)}
	}
}
