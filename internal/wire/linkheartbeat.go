package wire

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// heartbeats is a session's knowledge of the node's heartbeats.
type heartbeats struct {
	due  chan struct{} // of 1: one that answers none of the controller's
	turn chan struct{} // of 1: its holder sends one, and owns what is below

	sent  time.Time
	frame []byte
}

func newHeartbeats() heartbeats {
	return heartbeats{due: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

func (b *heartbeats) dueNow() {
	select {
	case b.due <- struct{}{}:
	default:
	}
}

// sendHeartbeats sends the node's heartbeats that do not answer the controller's. These are the
// first one, the one that says that the node drains, and those of its own clock.
func (s *linkSession) sendHeartbeats() error {
	for {
		select {
		case s.heartbeats.turn <- struct{}{}:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		err := s.sendHeartbeat()
		<-s.heartbeats.turn
		if err != nil {
			return err
		}
		select {
		case <-s.heartbeats.due:
		case <-s.link.heartbeatNow:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// answerHeartbeat answers the controller's heartbeat with the node's. So it comes while the
// controller is awake for all nodes together, and no goroutine is woken for it here.
func (s *linkSession) answerHeartbeat() error {
	select {
	case s.heartbeats.turn <- struct{}{}:
	default:
		return nil // one is just being sent
	}
	defer func() { <-s.heartbeats.turn }()
	if time.Since(s.heartbeats.sent) < s.link.cfg.Heartbeat/2 {
		return nil // nobody makes a node send more than its own clock would by far
	}
	return s.sendHeartbeat()
}

// sendHeartbeat sends a heartbeat. Callers have the turn.
func (s *linkSession) sendHeartbeat() error {
	b := &s.heartbeats
	b.sent = time.Now()
	now := s.link.cfg.State()
	now.Draining = now.Draining || s.link.draining.Load()
	heartbeat := &wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: encodeHeartbeat(now)}}
	var err error
	if b.frame, err = (proto.MarshalOptions{}).MarshalAppend(b.frame[:0], heartbeat); err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	if err := s.conns[roleControl].Send(s.ctx, b.frame); err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	return nil
}
