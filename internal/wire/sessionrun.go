package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

var (
	errRoleTaken       = errors.New("join session: it has this connection already")
	errIncomplete      = errors.New("session stayed incomplete: not all four connections and a heartbeat came in time")
	errWrongConnection = errors.New("read response: the node answered a get on its control connection")
	errNoPayload       = errors.New("read response: a message on the data connection is not a response and a payload")
)

// run carries the session through its life: it waits until the session is whole,
// reports it, watches for silence, and reports its end. It returns when both the
// session and its heartbeats are over.
func (s *Session) run(ctx context.Context) {
	defer close(s.gone)
	up := s.awaitWhole(ctx)
	var beating sync.WaitGroup
	if up {
		beating.Go(func() { s.sendBeats(ctx) })
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
	s.watch(ctx)
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

// watch ends the session after Dead of silence, give or take half a heartbeat: it
// looks when heartbeats are sent, and answers come in a moment later.
func (s *Session) watch(ctx context.Context) {
	dead := s.hub.cfg.Dead - s.hub.cfg.Heartbeat/2
	timer := time.NewTimer(s.hub.untilBeat(dead))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			silent := s.SilentFor()
			if silent >= dead {
				s.End(fmt.Errorf("watch node: not a byte for %v", silent.Round(100*time.Millisecond)))
				return
			}
			timer.Reset(s.hub.untilBeat(dead - silent))
		case <-s.done:
			return
		case <-ctx.Done():
			s.End(errHubStops)
			return
		}
	}
}

// sendBeats sends the controller's heartbeats until the session ends, those of all
// sessions at the same moments, and nodes answer at once: an idle controller is woken
// twice a second and not twice for each node. A send that is stuck ends with the session.
func (s *Session) sendBeats(ctx context.Context) {
	s.mu.Lock()
	conn := s.conns[roleRequest]
	s.mu.Unlock()
	tick := time.NewTimer(s.hub.untilBeat(0))
	defer tick.Stop()
	var frame []byte
	for {
		frame, _ = proto.MarshalOptions{}.MarshalAppend(frame[:0], &wirepb.GetdataRequest{CatalogCommit: s.hub.cfg.Commit(), RenewKey: s.hub.cfg.Renew(s.node)})
		if err := conn.Send(ctx, frame); err != nil {
			s.End(fmt.Errorf("send heartbeat: %w", err))
			return
		}
		select {
		case <-tick.C:
			tick.Reset(s.hub.untilBeat(0))
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// untilBeat is the time until all sessions' first heartbeat that is more than d away.
func (h *Hub) untilBeat(d time.Duration) time.Duration {
	return d + h.cfg.Heartbeat - (time.Since(h.made)+d)%h.cfg.Heartbeat
}
