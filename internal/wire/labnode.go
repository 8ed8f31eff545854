package wire

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// labRate is how fast a lab node must take a payload in, in bytes per second, on
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
}

// labStore is one outstanding Store. It stays in the table when its caller gives
// up, so that a late acknowledgement shows that the node lives.
type labStore struct {
	node *LabNode
	size int64
	done chan error // has room for one
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

// Outstanding is how many payload bytes the node has not acknowledged.
func (n *LabNode) Outstanding() int64 { return n.window.outstanding() }

// Done is closed when the connection has ended.
func (n *LabNode) Done() <-chan struct{} { return n.conn.Done() }

// servePull makes a lab PULL connection a node for as long as it lives.
func (l *labs) servePull(c *zmtp.Conn) error {
	n := &LabNode{labs: l, conn: c, window: newWindow(l.cfg.Window)}
	n.id = raid.NodeID("lab-" + n.Addr())
	l.cfg.Log.Info("Lab node is up", "node", n.ID())
	l.cfg.Observer.LabUp(n)
	err := readNothing(c)
	c.CloseWith(err)
	l.dropStores(n, err)
	l.cfg.Observer.LabDown(n, err)
	return err
}

// Store sends a chunk as the assignment does and waits for its acknowledgement
// on any lab connection. It fails with raid.ErrExpired when that takes longer
// than LabStoreTimeout (and the payload's time at 8 MiB/s) without the node
// acknowledging anything, with raid.ErrBusy while an earlier deadline stands
// missed, and with raid.ErrPeerGone when the connection ends.
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
	waiting, cancel := context.WithTimeout(ctx, patience)
	err := n.window.acquire(waiting, n.conn.Done(), size)
	cancel()
	if err != nil {
		return err
	}
	st := &labStore{node: n, size: size, done: make(chan error, 1)}
	if err := n.labs.enterStore(name, st); err != nil {
		n.window.cancel(size)
		return err
	}
	if err := n.send(ctx, name, payload, patience); err != nil {
		if n.labs.leaveStore(name, st) {
			n.window.cancel(size)
		}
		return err
	}
	return n.await(ctx, st, patience)
}

// send writes the message. A node that does not take its bytes within patience
// loses the connection, since a message half sent can't be taken back.
func (n *LabNode) send(ctx context.Context, name raid.ChunkName, payload []byte, patience time.Duration) error {
	frame, err := n.labs.encoder.store(0, name, 0, 0, nil)
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

// enterStore makes a Store outstanding.
func (l *labs) enterStore(name raid.ChunkName, st *labStore) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stores[name] != nil {
		return fmt.Errorf("%w: a store of this name is outstanding", raid.ErrInvalid)
	}
	l.stores[name] = st
	return nil
}

// leaveStore takes a Store that was not sent out of the table; false when it is
// gone already.
func (l *labs) leaveStore(name raid.ChunkName, st *labStore) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stores[name] != st {
		return false
	}
	delete(l.stores, name)
	return true
}

// acknowledged ends the outstanding Store of that name; without one it is
// without effect.
func (l *labs) acknowledged(name raid.ChunkName) {
	l.mu.Lock()
	st := l.stores[name]
	delete(l.stores, name)
	l.mu.Unlock()
	if st == nil {
		return
	}
	st.node.answers()
	st.node.window.release(st.size)
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
