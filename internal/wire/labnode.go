package wire

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// labRate is the least speed at which a lab node must take a payload in, in bytes per second, on
// top of LabStoreTimeout.
const labRate = 8 << 20

// LabNode is one PULL connection of a lab peer, from LabUp to LabDown. It does
// not fsync and has no name: a reconnected one is another node.
type LabNode struct {
	labs   *labs
	conn   *zmtp.Conn
	id     raid.NodeID
	window *window

	mu       sync.Mutex
	missed   bool      // a Store's deadline, and nothing was acknowledged since
	answered time.Time // the last acknowledgement

	// labs.mu guards what follows: the order of the node's Stores.
	steps     uint64                 // counts the beginnings and ends of sending one
	passed    uint64                 // the latest beginning among the acknowledged ones
	abandoned map[*labStore]struct{} // outstanding, and nobody waits
}

// labStore is one outstanding Store. It stays in the table when its caller gives up, so that a late
// acknowledgement shows that the node lives. It goes when the node has acknowledged one that was
// sent later: then this one will get no acknowledgement.
type labStore struct {
	node *LabNode
	name raid.ChunkName
	size int64
	done chan error // has room for one

	began, sent uint64 // steps of the node at which sending began and ended, 0 before; labs.mu
}

// ID is "lab-" and the remote address.
func (n *LabNode) ID() raid.NodeID { return n.id }

// Addr is the remote address.
func (n *LabNode) Addr() string {
	if a := n.conn.Peer().Addr; a != nil {
		return a.String()
	}
	return "unknown"
}

// Healthy is false from a missed Store's deadline to the next acknowledgement.
func (n *LabNode) Healthy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.missed
}

// Outstanding counts the payload bytes that the node has not acknowledged.
func (n *LabNode) Outstanding() int64 { return n.window.outstanding() }

// Done is closed when the connection has ended.
func (n *LabNode) Done() <-chan struct{} { return n.conn.Done() }

// servePull makes a lab PULL connection a node for as long as it lives.
func (l *labs) servePull(c *zmtp.Conn) error {
	n := &LabNode{labs: l, conn: c, window: newWindow(l.cfg.Window), abandoned: map[*labStore]struct{}{}}
	n.id = raid.LabID(n.Addr())
	l.cfg.Log.Info("Lab node is up", "node", n.ID())
	l.cfg.Observer.LabUp(n)
	err := readNothing(c)
	c.CloseWith(err)
	l.dropStores(n, err)
	l.cfg.Observer.LabDown(n, err)
	return err
}

// Store sends a chunk as the assignment does and waits for its acknowledgement on any lab
// connection. It fails with raid.ErrExpired when the node acknowledges nothing for longer than
// LabStoreTimeout and the payload's time at 8 MiB/s. It does so too when the window has no room for
// so long. It fails with raid.ErrBusy while an earlier deadline stands missed, and with
// raid.ErrPeerGone when the connection ends.
func (n *LabNode) Store(ctx context.Context, name raid.ChunkName, payload []byte) error {
	err := n.store(ctx, name, payload)
	if err != nil {
		return fmt.Errorf("store chunk %s on lab node %s: %w", name, n.Addr(), err)
	}
	return nil
}

func (n *LabNode) store(ctx context.Context, name raid.ChunkName, payload []byte) error {
	if !n.Healthy() {
		return fmt.Errorf("%w: it has not answered for too long", raid.ErrBusy)
	}
	size := int64(len(payload))
	patience := n.labs.cfg.LabStoreTimeout + time.Duration(size)*time.Second/labRate
	if err := n.room(ctx, size, patience); err != nil {
		return err
	}
	st := &labStore{node: n, name: name, size: size, done: make(chan error, 1)}
	if err := n.labs.enterStore(st); err != nil {
		n.window.cancel(size)
		return err
	}
	if err := n.send(ctx, name, payload, patience); err != nil {
		if n.labs.leaveStore(st) {
			n.window.cancel(size)
		}
		return err
	}
	n.labs.storeSent(st)
	err := n.await(ctx, st, patience)
	if err != nil {
		n.labs.abandon(st)
	}
	return err
}

// room waits for the window. A node that leaves it full for so long without
// acknowledging anything has missed a deadline, even if nobody waits for what
// fills it.
func (n *LabNode) room(ctx context.Context, size int64, patience time.Duration) error {
	began := time.Now()
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := n.window.acquire(waiting, n.conn.Done(), size)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil && time.Since(n.later(began)) >= patience {
		n.miss()
	}
	return err
}

// send writes the message. A node that does not take its bytes within patience
// loses the connection, since a message half sent can't be taken back.
func (n *LabNode) send(ctx context.Context, name raid.ChunkName, payload []byte, patience time.Duration) error {
	frame, err := n.labs.encoder.store(0, name, 0, raid.Commit{}, nil)
	if err != nil {
		return err
	}
	defer n.labs.encoder.done(frame)
	hung := time.AfterFunc(patience, func() {
		n.miss()
		n.conn.CloseWith(fmt.Errorf("write lab store: the peer took no bytes for %v", patience))
	})
	defer hung.Stop()
	err = n.conn.Send(ctx, frame.buf, payload)
	if err != nil && ctx.Err() != nil {
		return contextError(ctx, "send request")
	}
	if err != nil {
		n.conn.CloseWith(err)
		return gone("send request", err)
	}
	return nil
}

// await waits for the acknowledgement of a Store that was sent.
func (n *LabNode) await(ctx context.Context, st *labStore, patience time.Duration) error {
	sent := time.Now()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case err := <-st.done:
			return err
		case <-ctx.Done():
			return contextError(ctx, "wait for the acknowledgement")
		case <-timer.C:
			waited := time.Since(n.later(sent))
			if waited >= patience {
				n.miss()
				return fmt.Errorf("no acknowledgement for %v: %w", patience, raid.ErrExpired)
			}
			timer.Reset(patience - waited)
		}
	}
}

// later is the last acknowledgement, or sent when that came later.
func (n *LabNode) later(sent time.Time) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.answered.After(sent) {
		return n.answered
	}
	return sent
}

func (n *LabNode) miss() {
	n.mu.Lock()
	was := n.missed
	n.missed = true
	n.mu.Unlock()
	if !was {
		n.labs.cfg.Log.Warn("Lab node does not answer: it gets no chunks until it does", "node", n.ID())
	}
}

// answers notes an acknowledgement.
func (n *LabNode) answers() {
	n.mu.Lock()
	n.missed, n.answered = false, time.Now()
	n.mu.Unlock()
}

// step counts on and returns the new count. labs.mu is held.
func (n *LabNode) step() uint64 {
	n.steps++
	return n.steps
}

// enterStore makes a Store outstanding, before it is sent.
func (l *labs) enterStore(st *labStore) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stores[st.name] != nil {
		return fmt.Errorf("%w: a store of this name is outstanding", raid.ErrInvalid)
	}
	st.began = st.node.step()
	l.stores[st.name] = st
	return nil
}

// storeSent notes that a Store is on its way. Those that begin to be sent from
// now on come to the node after it.
func (l *labs) storeSent(st *labStore) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st.sent = st.node.step()
}

// leaveStore takes a Store that was not sent out of the table; false when it is
// gone already.
func (l *labs) leaveStore(st *labStore) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stores[st.name] != st {
		return false
	}
	delete(l.stores, st.name)
	return true
}

// abandon notes that nobody waits for an outstanding Store any more. It stays,
// unless a later one was acknowledged. While the node counts as hung it stays
// even then: its acknowledgement may be the one that shows that the node lives.
func (l *labs) abandon(st *labStore) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stores[st.name] != st {
		return
	}
	st.node.abandoned[st] = struct{}{}
	if st.node.Healthy() {
		l.endPassed(st.node)
	}
}

// endPassed ends the abandoned Stores that were sent before one that was acknowledged. A PULL is
// served in order, so the node has dropped them. Otherwise their place in the window would be lost
// for as long as it is connected. labs.mu is held.
func (l *labs) endPassed(n *LabNode) {
	for st := range n.abandoned {
		if st.sent < n.passed {
			delete(n.abandoned, st)
			delete(l.stores, st.name)
			n.window.release(st.size)
		}
	}
}

// acknowledged ends the outstanding Store of that name; without one it is
// without effect.
func (l *labs) acknowledged(name raid.ChunkName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stores[name]
	if st == nil {
		return
	}
	n := st.node
	delete(l.stores, name)
	delete(n.abandoned, st)
	n.passed = max(n.passed, st.began)
	n.answers()
	n.window.release(st.size)
	l.endPassed(n)
	st.done <- nil
}

// dropStores fails what is outstanding on a node whose connection has ended.
func (l *labs) dropStores(n *LabNode, why error) {
	l.mu.Lock()
	var lost []*labStore
	for name, st := range l.stores {
		if st.node == n {
			lost = append(lost, st)
			delete(l.stores, name)
		}
	}
	l.mu.Unlock()
	for _, st := range lost {
		st.done <- gone("wait for the acknowledgement", why)
	}
}
