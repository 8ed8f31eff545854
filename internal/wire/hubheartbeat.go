package wire

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

const (
	// idleAfter is the time for which no node was asked for anything, after which heartbeats become
	// rare. There are idleFactor times fewer then.
	idleAfter  = 5 * time.Second
	idleFactor = 4
)

// sendHeartbeats has all sessions send the controller's heartbeats at the same moments, and nodes
// answer at once. So an idle controller is woken for all of them together. The moments are
// Heartbeat apart. They are idleFactor times that apart while no node is asked for anything and
// none owes an answer. It ends the sessions of nodes that are silent.
func (h *Hub) sendHeartbeats(ctx context.Context) {
	h.heartbeating.Store(true)
	defer close(h.over)
	timer := time.NewTimer(h.untilHeartbeat(1))
	defer timer.Stop()
	var sessions []*Session
	var last time.Time
	for {
		select {
		case <-timer.C:
		case <-h.wake:
			if time.Since(last) < h.cfg.Heartbeat/2 { // the one that wakes us may do so all the time
				select {
				case <-timer.C: // its time has come as well
				default:
					timer.Reset(h.untilHeartbeat(1))
					continue
				}
			}
		case h.here <- struct{}{}:
			continue
		case <-ctx.Done():
			return
		}
		last = time.Now()
		h.mu.Lock()
		sessions = sessions[:0]
		for _, s := range h.nodes {
			sessions = append(sessions, s)
		}
		h.mu.Unlock()
		every := time.Duration(idleFactor)
		if time.Since(h.made)-time.Duration(h.used.Load()) < idleAfter {
			every = 1
		}
		for _, s := range sessions {
			if !s.heartbeatNow() {
				every = 1
			}
		}
		clear(sessions)
		timer.Reset(h.untilHeartbeat(every))
	}
}

// untilHeartbeat is the time until all sessions' next heartbeat, which are so many times
// Heartbeat apart.
func (h *Hub) untilHeartbeat(every time.Duration) time.Duration {
	every *= h.cfg.Heartbeat
	return every - time.Since(h.made)%every
}

// use notes that a node is asked for something. After an idle time all of them are to show at
// once that they are there.
func (h *Hub) use() {
	now := time.Since(h.made)
	// A little before idleAfter too: a round may just be finding that all is idle.
	if now-time.Duration(h.used.Swap(int64(now))) >= idleAfter-h.cfg.Heartbeat {
		h.heartbeatSoon()
	}
}

func (h *Hub) heartbeatSoon() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// heartbeatNow has a heartbeat sent, or ends the session after Dead of silence. That is exact to
// half a heartbeat: answers come in a moment after they were asked for. Silence counts only with a
// debt: after a halt of this process the words of nodes are still to be read. It reports whether
// the session is idle: nothing is asked of the node, and it owes no answer.
func (s *Session) heartbeatNow() (idle bool) {
	if !s.isWhole() {
		return true // it has a deadline of its own
	}
	silent := s.SilentFor()
	owed := s.Unanswered()
	if silent >= s.hub.cfg.Dead-s.hub.cfg.Heartbeat/2 && owed >= s.hub.cfg.Heartbeat {
		s.End(fmt.Errorf("watch node: not a byte for %v", silent.Round(100*time.Millisecond)))
		return true
	}
	select {
	case s.due <- struct{}{}:
	default: // the one before is stuck, and may have been one that need not be answered
		s.expect()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return owed < s.hub.cfg.Heartbeat/2 && len(s.calls) == 0
}

// sendHeartbeats sends the controller's heartbeats until the session ends, the first at once.
// A send that is stuck ends with the session.
func (s *Session) sendHeartbeats(ctx context.Context) {
	s.mu.Lock()
	conn := s.conns[roleRequest]
	s.mu.Unlock()
	var frame []byte
	var told Told
	for {
		s.expect()
		now := s.hub.proved(s.hub.cfg.Commit())
		heartbeat := &wirepb.GetdataRequest{CatalogCommit: now.Number, CommitMac: now.MAC.Bytes(), RenewKey: s.hub.cfg.Renew(s.node)}
		if tell := s.hub.cfg.Tell(s.node); !tell.same(told) {
			told = tell
			heartbeat.ControllerHosts, heartbeat.NodeName, heartbeat.ScrubOrder = told.Hosts, told.Name, encodeOrder(told.Scrub)
		}
		frame, _ = proto.MarshalOptions{}.MarshalAppend(frame[:0], heartbeat)
		if err := conn.Send(ctx, frame); err != nil {
			s.End(fmt.Errorf("send heartbeat: %w", err))
			return
		}
		select {
		case <-s.due:
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// expect notes that the node owes a sign of life from now on, unless it did before. Nor does it owe
// one when its last heartbeat has only just come.
func (s *Session) expect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unanswered() == 0 && time.Since(s.heartbeatAt) >= s.hub.cfg.Heartbeat/2 {
		s.asked = time.Now()
	}
}

// Unanswered is the time since the first heartbeat that the node has to answer and after which not
// a byte has come from it. It is 0 when one has.
func (s *Session) Unanswered() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unanswered()
}

func (s *Session) unanswered() time.Duration {
	if s.asked.IsZero() || !s.asked.After(s.lastHeard()) {
		return 0
	}
	return time.Since(s.asked)
}
