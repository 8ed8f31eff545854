package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// labs is everything that the Hub knows of lab peers: plain libzmq programs,
// whose three connections nothing ties together. So answers are matched to what
// is outstanding, by name, wherever they come in.
type labs struct {
	cfg     *HubConfig
	encoder *encoder

	mu     sync.Mutex
	stores map[raid.ChunkName]*labStore
	gets   map[raid.ChunkName][]*labGet
	pushes map[*labPush]struct{}
	subs   map[*labSub]struct{}
}

// maxTopic bounds a subscription and a name that a lab peer sends, in bytes, and
// maxTopics how many subscriptions one SUB has.
const (
	maxTopic  = 255
	maxTopics = 64
)

var errLabSpeaks = errors.New("read lab connection: the peer sent what the assignment does not know")

func newLabs(cfg *HubConfig, e *encoder) *labs {
	return &labs{
		cfg: cfg, encoder: e,
		stores: map[raid.ChunkName]*labStore{}, gets: map[raid.ChunkName][]*labGet{},
		pushes: map[*labPush]struct{}{}, subs: map[*labSub]struct{}{},
	}
}

// serve carries one lab connection for as long as it lives.
func (l *labs) serve(ctx context.Context, port role, c *zmtp.Conn) {
	var err error
	switch port {
	case roleStore:
		err = l.servePull(c)
	case roleRequest:
		err = l.serveSub(ctx, c)
	default:
		err = l.servePush(c)
	}
	c.CloseWith(err)
	if ctx.Err() == nil {
		l.cfg.Log.Info("Lab connection ended", "type", c.Peer().Type, "addr", c.Peer().Addr, "reason", err)
	}
}

// labPush is one PUSH connection of a lab peer: where acknowledgements and data
// come in. labs.mu guards its fields but for those of the reader.
type labPush struct {
	labs *labs
	conn *zmtp.Conn

	last    time.Time // of the last message
	midway  bool      // in the middle of a message: its bytes count as they come
	filling *labGet   // the Get whose destination is being filled; the reader's own
}

// servePush takes in acknowledgements, [filename], and data, [filename][data].
func (l *labs) servePush(c *zmtp.Conn) error {
	p := &labPush{labs: l, conn: c, last: time.Now()}
	l.mu.Lock()
	l.pushes[p] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.pushes, p)
		l.mu.Unlock()
	}()
	for {
		m, err := c.Receive(p.sink)
		if err == nil {
			err = p.message(m.Frames)
			m.Release()
		}
		p.finish(err == nil)
		if err != nil {
			return err
		}
	}
}

// message takes in one that has come whole.
func (p *labPush) message(frames [][]byte) error {
	if len(frames) == 0 || len(frames) > 2 || len(frames[0]) > maxTopic {
		return errLabSpeaks
	}
	if len(frames) == 1 {
		p.labs.acknowledged(raid.ChunkName(frames[0]))
	}
	return nil
}

// sink reads the data of a lab answer into the destination of a Get that is
// outstanding for this name and of this very size. Anything else is thrown away.
func (p *labPush) sink(prev [][]byte, size int64) ([]byte, error) {
	if len(prev) != 1 || len(prev[0]) > maxTopic {
		return nil, errLabSpeaks
	}
	p.labs.mu.Lock()
	defer p.labs.mu.Unlock()
	p.midway = true
	g := p.labs.claim(p.conn, raid.ChunkName(prev[0]), size)
	if g == nil {
		return nil, nil
	}
	g.filler = p.conn
	p.filling = g
	return g.dst, nil
}

// finish ends the message that the reader was in. An answer that did not come
// whole, or that accept refuses, leaves its Get as if it had never come.
func (p *labPush) finish(whole bool) {
	p.labs.mu.Lock()
	p.midway, p.last = false, time.Now()
	p.labs.mu.Unlock()
	g := p.filling
	p.filling = nil
	if g != nil {
		p.labs.filled(g, whole && g.accept(g.dst))
	}
}

// quiet is the time since the last byte of an answer on any lab connection.
// PING and PONG are no answers. labs.mu is held.
func (l *labs) quiet(since time.Time) time.Duration {
	quiet := time.Since(since)
	for p := range l.pushes {
		q := time.Since(p.last)
		if p.midway {
			q = p.conn.SilentFor()
		}
		quiet = min(quiet, q)
	}
	return quiet
}

// labSub is one SUB connection of a lab peer. Requests are queued for it, and
// dropped when it does not take them, as a PUB does.
type labSub struct {
	conn   *zmtp.Conn
	topics map[string]struct{} // labs.mu
	queue  chan []byte
}

// wants reports whether a message matches one of the subscriptions. labs.mu is
// held.
func (s *labSub) wants(frame []byte) bool {
	for t := range s.topics {
		if len(t) <= len(frame) && string(frame[:len(t)]) == t {
			return true
		}
	}
	return false
}

// offer queues a message if there is room. labs.mu is held.
func (s *labSub) offer(frame []byte) {
	if !s.wants(frame) {
		return
	}
	select {
	case s.queue <- frame:
	default:
	}
}

// serveSub takes in subscriptions and sends requests.
func (l *labs) serveSub(ctx context.Context, c *zmtp.Conn) error {
	s := &labSub{conn: c, topics: map[string]struct{}{}, queue: make(chan []byte, 1024)}
	l.mu.Lock()
	l.subs[s] = struct{}{}
	l.mu.Unlock()
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.send(ctx, stop)
	}()
	err := l.readSub(s)
	l.mu.Lock()
	delete(l.subs, s)
	l.mu.Unlock()
	close(stop)
	c.CloseWith(err)
	<-sent
	return err
}

func (s *labSub) send(ctx context.Context, stop <-chan struct{}) {
	for {
		select {
		case frame := <-s.queue:
			if err := s.conn.Send(ctx, frame); err != nil {
				s.conn.CloseWith(fmt.Errorf("send lab request: %w", err))
				return
			}
		case <-stop:
			return
		}
	}
}

func (l *labs) readSub(s *labSub) error {
	for {
		m, err := s.conn.Receive(nil)
		if err != nil {
			return err
		}
		topic, on, ok := parseSubscription(m.Frames)
		m.Release()
		if !ok {
			return errLabSpeaks
		}
		if err := l.subscribe(s, topic, on); err != nil {
			return err
		}
	}
}

// subscribe notes a subscription or its end. A new subscriber is asked again
// for what is outstanding.
func (l *labs) subscribe(s *labSub, topic string, on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !on {
		delete(s.topics, topic)
		return nil
	}
	if len(s.topics) >= maxTopics {
		return fmt.Errorf("read subscription: more than %d of one peer", maxTopics)
	}
	s.topics[topic] = struct{}{}
	for _, gets := range l.gets {
		for _, g := range gets {
			g.asked = time.Now()
			s.offer(g.frame)
		}
	}
	return nil
}
