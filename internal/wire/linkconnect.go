package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// dialTimeout bounds one TCP connection attempt.
const dialTimeout = 5 * time.Second

var errMixed = errors.New("connect: the three ports belong to different controllers")

// connect makes one set of connections under a new session id. The SUB comes first, since it tells
// the kind of controller. The PULL comes last, since a lab controller hands chunks to any PULL that
// is there.
func (l *Link) connect(ctx context.Context) (*linkSession, error) {
	id, err := raid.NewID(l.cfg.Random)
	if err != nil {
		return nil, err
	}
	s := &linkSession{link: l, id: raid.SessionID(id), log: l.cfg.Log.With("session", id), heartbeats: newHeartbeats()}
	if err := s.open(ctx); err != nil {
		s.close(err)
		return nil, err
	}
	return s, nil
}

// open makes the session's connections, in order.
func (s *linkSession) open(ctx context.Context) error {
	request, err := s.dial(ctx, roleRequest)
	if err != nil {
		return err
	}
	s.lab = isLab(request.Peer().Properties)
	if s.lab && s.link.cfg.Lab == nil {
		return errors.New("connect: the controller is a lab controller, which this node does not serve")
	}
	if err := s.greet(request); err != nil {
		return err
	}
	if err := request.Send(ctx, []byte{1}); err != nil { // subscribe to everything
		return fmt.Errorf("subscribe: %w", err)
	}
	roles := []role{roleControl, roleData, roleStore}
	if s.lab {
		roles = []role{roleControl, roleStore}
	}
	for _, r := range roles {
		c, err := s.dial(ctx, r)
		if err != nil {
			return err
		}
		if isLab(c.Peer().Properties) != s.lab {
			return errMixed
		}
		if err := s.greet(c); err != nil {
			return err
		}
	}
	return s.adopt()
}

// dial makes one connection and its handshake.
func (s *linkSession) dial(ctx context.Context, r role) (*zmtp.Conn, error) {
	cfg := &s.link.cfg
	s.link.moved.Add(1)
	addr, typ := cfg.RequestAddr, zmtp.Sub
	limits := zmtp.Limits{MaxFrame: maxHead, MaxMessage: maxHead, MaxFrames: 1}
	switch r {
	case roleStore:
		addr, typ = cfg.StoreAddr, zmtp.Pull
		limits = zmtp.Limits{MaxFrame: cfg.MaxFrame, MaxMessage: cfg.MaxFrame + maxHead, MaxFrames: 2}
	case roleData, roleControl:
		addr, typ = cfg.ResponseAddr, zmtp.Push
		limits = zmtp.Limits{MaxFrame: maxTopic, MaxMessage: maxTopic, MaxFrames: 1}
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := cfg.Dial(dialing, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	if cfg.TLS == nil && !cfg.Plaintext.Allows(nc.RemoteAddr()) {
		nc.Close()
		return nil, fmt.Errorf("connect to %s: talking without TLS to %v is not allowed: see plaintext under [controller] in the configuration", addr, nc.RemoteAddr())
	}
	s.link.mu.Lock()
	array := s.link.array
	s.link.mu.Unlock()
	hi := hello{version: ProtocolVersion, array: array, node: cfg.Node, session: s.id, role: r}
	var inside *tls.Config
	if cfg.TLS != nil {
		inside = cfg.TLS()
	}
	c, err := zmtp.Connect(ctx, nc, zmtp.Config{
		Type: typ, TLS: inside, Properties: hi.properties(), Pool: cfg.Pool, Limits: limits,
		PingEvery: 2 * cfg.Dead, TimersFrom: s.link.made, PingTimeout: 6 * cfg.Dead,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	s.conns[r] = c
	return c, nil
}

// greet checks what a native controller says of itself, which must be the same
// on all connections.
func (s *linkSession) greet(c *zmtp.Conn) error {
	if s.lab {
		return nil
	}
	array, err := parseWelcome(c.Peer().Properties)
	if err != nil {
		return err
	}
	if s.array != "" && s.array != array {
		return errMixed
	}
	s.array = array
	s.link.mu.Lock()
	mine := s.link.array
	s.link.mu.Unlock()
	return checkArray(mine, array)
}

// adopt takes the controller's array for the node's own, durably, when the node
// has none.
func (s *linkSession) adopt() error {
	l := s.link
	l.mu.Lock()
	mine := l.array
	l.mu.Unlock()
	if s.lab || mine != "" {
		return nil
	}
	if l.cfg.Adopt != nil {
		if err := l.cfg.Adopt(s.array); err != nil {
			return fmt.Errorf("join array %s: %w", s.array, err)
		}
	}
	l.mu.Lock()
	l.array = s.array
	l.mu.Unlock()
	s.log.Info("Joined array", "array", s.array)
	return nil
}
