package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

var errLinkStops = fmt.Errorf("node is stopping: %w", raid.ErrShutdown)

// linkSession is the node's end of one set of connections. Its fields do not
// change once it is connected.
type linkSession struct {
	link       *Link
	id         raid.SessionID
	log        *slog.Logger
	lab        bool
	array      raid.ArrayID
	conns      [roleCount]*zmtp.Conn // a lab controller has no data connection
	ctx        context.Context       // ends with the session
	heard      atomic.Bool           // the controller sent a message
	heartbeats heartbeats
}

// close ends all connections; the first reason counts.
func (s *linkSession) close(err error) {
	for _, c := range s.conns {
		if c != nil {
			c.CloseWith(err)
		}
	}
	for _, c := range s.conns {
		if c != nil {
			c.Close()
		}
	}
}

// serve carries the session until it ends and says why it did. Handlers that are
// still busy then are not waited for: their answers find closed connections.
func (s *linkSession) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	s.ctx = ctx
	var tasks sync.WaitGroup
	task := func(f func() error) {
		tasks.Go(func() { cancel(f()) })
	}
	task(s.readStores)
	task(s.readRequests)
	task(func() error { return readNothing(s.conns[roleControl]) })
	if !s.lab {
		task(func() error { return readNothing(s.conns[roleData]) })
		task(s.sendHeartbeats)
		task(s.watch)
	}
	<-ctx.Done()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = errLinkStops
	}
	s.close(err)
	tasks.Wait()
	return err
}

// watch ends the session after Dead of silence, and has heartbeats sent by the node's
// own clock when the controller's are late. An idle one sends some every two seconds.
func (s *linkSession) watch() error {
	l, dead, late := s.link, s.link.cfg.Dead, (idleFactor+1)*s.link.cfg.Heartbeat
	timer := time.NewTimer(late)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		l.moved.Add(1)
		silent := dead
		for _, c := range s.conns {
			silent = min(silent, c.SilentFor())
		}
		if silent >= dead {
			return fmt.Errorf("watch controller: not a byte for %v", dead)
		}
		next := late - silent
		if next <= 0 {
			s.heartbeats.dueNow()
			next = l.cfg.Heartbeat
		}
		timer.Reset(min(next, dead-silent))
	}
}

// readStores takes in Store requests, [request][payload], and queues them. When
// too many wait it stops reading, and TCP slows the controller down.
func (s *linkSession) readStores() error {
	c, l := s.conns[roleStore], s.link
	for {
		m, err := c.Receive(nil)
		if err != nil {
			return fmt.Errorf("store connection: %w", err)
		}
		if len(m.Frames) != 2 || len(m.Frames[0]) > maxHead {
			m.Release()
			return fmt.Errorf("store connection: a message of %d frames is no store request", len(m.Frames))
		}
		j := linkRequest{session: s, arrived: time.Now(), store: m, held: int64(len(m.Frames[1]))}
		if err := l.queued.acquire(s.ctx, nil, j.held); err != nil {
			m.Release()
			return err
		}
		select {
		case l.stores <- j:
		case <-s.ctx.Done():
			l.queued.cancel(j.held)
			m.Release()
			return s.ctx.Err()
		}
	}
}

// readRequests takes in heartbeats and requests. Heartbeats are answered at once. Requests are
// queued, or refused as busy when too many wait, so that heartbeats never wait behind them.
func (s *linkSession) readRequests() error {
	for {
		m, err := s.conns[roleRequest].Receive(nil)
		if err != nil {
			return fmt.Errorf("request connection: %w", err)
		}
		if len(m.Frames) != 1 {
			m.Release()
			return fmt.Errorf("request connection: a message of %d frames is no request", len(m.Frames))
		}
		s.heard.Store(true)
		if s.lab {
			s.queueLabGet(m.Frames[0])
			m.Release()
			continue
		}
		r, invalid, err := decodeRequest(m.Frames[0], s.link.cfg.MaxFrame)
		m.Release()
		if err != nil {
			return fmt.Errorf("request connection: %w", err)
		}
		s.link.cfg.SawCommit(r.commit)
		if r.heartbeat() {
			if r.renewKey {
				s.link.cfg.RenewKey()
			}
			if r.told.Name != "" || len(r.told.Hosts) > 0 {
				s.link.cfg.Told(r.told)
			}
			if h := s.link.cfg.Scrub; h != nil && r.told.Scrub != nil {
				h.Order(*r.told.Scrub)
			}
			if err := s.answerHeartbeat(); err != nil {
				return err
			}
			continue
		}
		s.queueRequest(r, invalid)
	}
}

func (s *linkSession) queueRequest(r nodeRequest, invalid error) {
	j := linkRequest{session: s, arrived: time.Now(), request: &r}
	if invalid == nil {
		select {
		case s.link.others <- j:
			return
		default:
			invalid = fmt.Errorf("%d requests are waiting: %w", queueLength, raid.ErrBusy)
		}
	}
	s.answer(&wirepb.Response{RequestId: r.id, Filename: string(r.name)}, invalid)
}
