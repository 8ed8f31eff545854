package wire

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errRoleTaken       = errors.New("join session: it has this connection already")
	errIncomplete      = errors.New("session stayed incomplete: not all four connections and a heartbeat came in time")
	errWrongConnection = errors.New("read response: the node answered a get on its control connection")
	errNoPayload       = errors.New("read response: a message on the data connection is not a response and a payload")
)

// run carries the session through its life: it waits until the session is whole,
// reports it, sends heartbeats, and reports its end. It returns when both the session
// and its heartbeats are over. That it falls silent is for [Hub.sendHeartbeats] to see.
func (s *Session) run(ctx context.Context) {
	defer close(s.gone)
	up := s.awaitWhole(ctx)
	var beating sync.WaitGroup
	if up {
		beating.Go(func() { s.sendHeartbeats(ctx) })
	}
	if s.prior != nil {
		<-s.prior
	}
	if !up {
		s.log.Info("Node did not come up", "reason", s.Err())
		return
	}
	s.log.Debug("Session is whole", "addr", s.Addr())
	s.tell(func(o Observer) { o.NodeUp(s); s.told = true })
	select {
	case <-s.done:
	case <-ctx.Done():
		s.End(errHubStops)
	}
	beating.Wait()
	s.log.Debug("Session is over", "reason", s.Err())
	s.tell(func(o Observer) { s.told = false; o.NodeDown(s, s.Err()) })
}

// tell calls the observer, about one thing at a time.
func (s *Session) tell(f func(Observer)) {
	s.telling.Lock()
	defer s.telling.Unlock()
	f(s.hub.cfg.Observer)
}

// awaitWhole reports whether the session became whole in time; it has ended when
// not.
func (s *Session) awaitWhole(ctx context.Context) bool {
	late := time.NewTimer(s.hub.cfg.Dead)
	defer late.Stop()
	select {
	case <-s.whole:
		return true
	case <-late.C:
		s.End(errIncomplete)
	case <-s.done:
	case <-ctx.Done():
		s.End(errHubStops)
	}
	return false
}
