package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// admit judges a peer in its handshake, before it is answered.
func (h *Hub) admit(peer zmtp.Peer) (zmtp.Properties, error) {
	if peer.TLS == nil && !h.cfg.Plaintext.Allows(peer.Addr) {
		return nil, fmt.Errorf("this controller takes no connections without TLS from %v: see plaintext under [nodes] in its configuration", peer.Addr)
	}
	if isLab(peer.Properties) {
		if peer.TLS != nil {
			return nil, errLabInTLS
		}
		return nil, nil
	}
	hi, err := parseHello(peer)
	if err != nil {
		return nil, err
	}
	if err := h.checkIdentity(peer, hi.node); err != nil {
		return nil, err
	}
	if err := checkArray(hi.array, h.cfg.Array); err != nil {
		h.cfg.Stranger(hi.array, hi.node, peer.Addr)
		return nil, err
	}
	h.mu.Lock()
	err = h.checkClone(hi)
	h.mu.Unlock()
	if err != nil {
		h.noteClone(hi, peer)
		return nil, err
	}
	return welcome(h.cfg.Array), nil
}

var errLabInTLS = errors.New("inside TLS only raid-node is served")

// checkIdentity refuses a native peer that has not proved to be the node that it says it is.
// Without TLS nothing is proved. So such a node must be on this machine, whatever is allowed to lab
// peers, and must not have joined. A peer that can pretend to be another node reads and removes
// what that node is asked for.
func (h *Hub) checkIdentity(peer zmtp.Peer, node raid.NodeID) error {
	if peer.TLS == nil {
		if elsewhere(peer.Addr) {
			return fmt.Errorf("node %s comes without TLS from another machine: run sudo raid-node join there, with a token of this controller (sudo raidctl token create)", node)
		}
		return h.cfg.MayBePlain(node)
	}
	named, err := h.cfg.Identify(*peer.TLS)
	if err != nil {
		return err
	}
	if named != node {
		return fmt.Errorf("the certificate is that of node %s, and the peer says that it is node %s", named, node)
	}
	return nil
}

// Cut ends a node's session, if it has one.
func (h *Hub) Cut(node raid.NodeID, why error) {
	h.mu.Lock()
	s := h.nodes[node]
	h.mu.Unlock()
	if s != nil {
		s.End(why)
	}
}

// checkClone refuses a session of a node that has another one which lives and
// answers. Whether it does will be known when the refused one tries again. h.mu is held.
func (h *Hub) checkClone(hi hello) error {
	current := h.nodes[hi.node]
	if current == nil || current.id == hi.session || current.over() {
		return nil
	}
	owes := current.Unanswered
	if !current.isWhole() { // and so is asked nothing yet
		owes = current.SilentFor
	}
	if owes() >= h.cfg.Suspect {
		return nil
	}
	h.heartbeatSoon()
	return errClone
}

// join finds or makes the session that a connection belongs to, and adds it.
func (h *Hub) join(ctx context.Context, hi hello, c *zmtp.Conn) (*Session, error) {
	s, silent, err := h.sessionFor(ctx, hi)
	if silent != nil {
		silent.End(fmt.Errorf("watch node: it did not answer for %v, and connected anew", h.cfg.Suspect))
	}
	if err != nil {
		return nil, err
	}
	return s, s.attach(hi.role, c)
}

// sessionFor returns the node's session with the hello's id, a new one if need be. It also returns
// the silent session that this one replaces, which the caller has to end.
func (h *Hub) sessionFor(ctx context.Context, hi hello) (s, silent *Session, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return nil, nil, errHubStops
	}
	if err := h.checkClone(hi); err != nil {
		return nil, nil, err
	}
	current := h.nodes[hi.node]
	if current != nil && current.id == hi.session {
		return current, nil, nil
	}
	var prior <-chan struct{}
	if current != nil {
		prior = current.gone
	}
	s = newSession(h, hi, prior)
	h.nodes[hi.node] = s
	h.running.Go(func() {
		s.run(ctx)
		h.forget(s)
	})
	return s, current, nil
}

// forget drops a session whose last callback has returned, unless the node has a
// newer one.
func (h *Hub) forget(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.nodes[s.node] == s {
		delete(h.nodes, s.node)
	}
}

// handle returns what is done with the connections of one port.
func (h *Hub) handle(ctx context.Context, port role) func(context.Context, *zmtp.Conn) {
	return func(_ context.Context, c *zmtp.Conn) {
		if isLab(c.Peer().Properties) {
			h.labs.serve(ctx, port, c)
			return
		}
		c.CloseWith(h.serveNative(ctx, c))
	}
}

// serveNative reads one connection of a session for as long as both live, and
// says why it ended. Its end ends the session.
func (h *Hub) serveNative(ctx context.Context, c *zmtp.Conn) error {
	hi, err := parseHello(c.Peer())
	if err != nil {
		return err
	}
	s, err := h.join(ctx, hi, c)
	if err != nil {
		h.cfg.Log.Info("Connection refused", "node", hi.node, "session", hi.session, "role", hi.role, "reason", err)
		return err
	}
	// It may have been removed since it was admitted. The removal looks for its
	// session after that is known here, so one of the two finds the other.
	if err := h.checkIdentity(c.Peer(), hi.node); err != nil {
		s.End(err)
		return err
	}
	switch hi.role {
	case roleStore:
		err = readNothing(c)
	case roleRequest:
		err = readSubscriptions(c)
	case roleData:
		err = s.readData(c)
	default:
		err = s.readControl(c)
	}
	s.End(fmt.Errorf("%s connection: %w", hi.role, err))
	return err
}
