package wire

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// beats is what a session knows of the node's heartbeats.
type beats struct {
	due  chan struct{} // of 1: one that answers none of the controller's
	turn chan struct{} // of 1: who has it sends one, and owns what is below

	sent  time.Time
	frame []byte
}

func newBeats() beats {
	return beats{due: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

func (b *beats) dueNow() {
	select {
	case b.due <- struct{}{}:
	default:
	}
}

// sendBeats sends the node's heartbeats that the controller's do not bring about: the
// first, that which says that the node drains, and those of its own clock.
func (s *linkSession) sendBeats() error {
	for {
		select {
		case s.beats.turn <- struct{}{}:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		err := s.sendBeat()
		<-s.beats.turn
		if err != nil {
			return err
		}
		select {
		case <-s.beats.due:
		case <-s.link.beatNow:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// answerBeat answers the controller's heartbeat with the node's: it so comes while the
// controller is awake for all nodes together, and no goroutine is woken for it here.
func (s *linkSession) answerBeat() error {
	select {
	case s.beats.turn <- struct{}{}:
	default:
		return nil // one is just being sent
	}
	defer func() { <-s.beats.turn }()
	if time.Since(s.beats.sent) < s.link.cfg.Heartbeat/2 {
		return nil // nobody makes a node send more than its own clock would by far
	}
	return s.sendBeat()
}

// sendBeat sends a heartbeat. Callers have the turn.
func (s *linkSession) sendBeat() error {
	b := &s.beats
	b.sent = time.Now()
	now := s.link.cfg.Beat()
	now.Draining = now.Draining || s.link.draining.Load()
	beat := &wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: encodeBeat(now)}}
	var err error
	if b.frame, err = (proto.MarshalOptions{}).MarshalAppend(b.frame[:0], beat); err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	if err := s.conns[roleControl].Send(s.ctx, b.frame); err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	return nil
}
