package zmtp

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// copyBelow is the frame size in bytes up to which a copy is cheaper than
	// an entry of its own in writev.
	copyBelow = 4 << 10
	// batchBytes and batchJobs end the collecting of further messages that
	// wait, so that the first of them is not held up.
	batchBytes = 64 << 10
	batchJobs  = 64
	// keepScratch is the most that an idle connection keeps for the next batch.
	keepScratch = 64 << 10
)

// outgoing is one message on its way to the writer.
type outgoing struct {
	frames [][]byte
	done   chan error
}

// writer is the outgoing half of a connection. The holder of the turn writes, and the
// fields below commands are theirs: a goroutine that sends, or [Conn.keep]. To hand each
// message to a goroutine that writes would cost more than all the rest of a small one.
type writer struct {
	turn     chan struct{}  // of 1; the Send that waits longest gets it
	queue    chan *outgoing // unbuffered: a Send that waits for the turn may leave with another's batch
	idle     sync.Pool      // of *outgoing
	commands commands

	jobs    []*outgoing
	scratch []byte // headers and small frames of the batch
	from    int    // scratch[from:] is not yet in bufs
	bufs    net.Buffers
	bytes   int64
	sending net.Buffers // bufs while they are written, which consumes them
}

// commands are the PING and the PONG that are due. The next write takes them
// along. PINGs that come faster than they can be answered get one answer.
type commands struct {
	due chan struct{} // of 1

	mu     sync.Mutex
	ping   bool
	asked  time.Time // when a PING had been written; of those unanswered, the first
	pong   bool
	answer []byte // the PONG's context
}

func (w *writer) init() {
	w.turn = make(chan struct{}, 1)
	w.queue = make(chan *outgoing)
	w.commands.due = make(chan struct{}, 1)
	w.idle.New = func() any { return &outgoing{done: make(chan error, 1)} }
}

// set makes a command due.
func (c *commands) set(command func()) {
	c.mu.Lock()
	command()
	c.mu.Unlock()
	select {
	case c.due <- struct{}{}:
	default:
	}
}

func (c *commands) setPing() { c.set(func() { c.ping = true }) }

func (c *commands) setPong(context []byte) {
	c.set(func() { c.pong, c.answer = true, append(c.answer[:0], context...) })
}

// take appends what is due, if anything, and reports whether a PING is among it.
func (c *commands) take(b []byte) (with []byte, ping bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ping = c.ping
	if c.ping {
		// A TTL of 0: the peer need not watch us.
		b = appendCommand(b, cmdPing, []byte{0, 0})
		c.ping = false
	}
	if c.pong {
		b = appendCommand(b, cmdPong, c.answer)
		c.pong = false
	}
	return b, ping
}

// pinged notes that a PING has been written, to a peer that was heard last at heard.
func (c *commands) pinged(heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.After(heard) {
		c.asked = time.Now()
	}
}

// owedFor is the time since a PING was written to a peer that was heard last before it, at heard.
// It is 0 when there is none.
func (c *commands) owedFor(heard time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.After(heard) {
		return 0
	}
	return time.Since(c.asked)
}

// Send sends one message. It returns nil when the message is in the hands of the kernel, which is
// no promise that it arrives. It fails, with nothing sent, when ctx ends while other messages are
// still ahead. It fails with raid.ErrPeerGone when the connection has ended or ends, before or in
// the middle of the message.
//
// The frames are never referenced after it has returned. So Send outlasts ctx once writing has
// begun, for as long as the message may take to leave (Config.WriteTimeout). The time counts the
// messages that leave with it, too: 64 KiB at most beside the largest.
func (c *Conn) Send(ctx context.Context, frames ...[]byte) error {
	if len(frames) == 0 {
		return fmt.Errorf("send to %s: a message without frames: %w", c.peer.Addr, raid.ErrInvalid)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send to %s: %w", c.peer.Addr, err)
	}
	j := c.out.idle.Get().(*outgoing)
	j.frames = append(j.frames[:0], frames...)
	err := c.enqueue(ctx, j)
	clear(j.frames)
	c.out.idle.Put(j)
	return err
}

func (c *Conn) enqueue(ctx context.Context, j *outgoing) error {
	select {
	case <-c.ctx.Done():
		return gone("send to", c.peer, c.Err())
	default:
	}
	select {
	case c.out.turn <- struct{}{}:
		_ = c.writeBatch(j) // j.done has it too
		<-c.out.turn
	case c.out.queue <- j:
	case <-ctx.Done():
		return fmt.Errorf("send to %s: %w", c.peer.Addr, ctx.Err())
	case <-c.ctx.Done():
		return gone("send to", c.peer, c.Err())
	}
	if err := <-j.done; err != nil {
		return gone("send to", c.peer, err)
	}
	return nil
}

// keep sends PINGs and PONGs, until the connection ends.
func (c *Conn) keep() {
	tick := newTicker(&c.cfg)
	defer tick.stop()
	for {
		var err error
		select {
		case <-c.out.commands.due:
			c.out.turn <- struct{}{}
			if err = c.flush(); err != nil {
				c.CloseWith(err) // before anybody else writes
			}
			<-c.out.turn
		case <-tick.C:
			if err = c.tick(tick); err != nil {
				c.CloseWith(err)
			}
		case <-c.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// writeBatch writes j and what waits behind it in one go. All of them learn of the
// result.
func (c *Conn) writeBatch(j *outgoing) error {
	w := &c.out
	for j != nil {
		w.jobs = append(w.jobs, j)
		w.add(j.frames)
		j = nil
		if w.bytes < batchBytes && len(w.jobs) < batchJobs {
			select {
			case j = <-w.queue:
			default:
			}
		}
	}
	err := c.flush()
	if err != nil {
		c.CloseWith(err) // first, so that a caller that sees the error sees Done too
		err = c.Err()
	}
	for i, j := range w.jobs {
		j.done <- err
		w.jobs[i] = nil
	}
	w.jobs = w.jobs[:0]
	return err
}

// add appends a message to the batch.
func (w *writer) add(frames [][]byte) {
	for i, f := range frames {
		var flags byte
		if i < len(frames)-1 {
			flags = flagMore
		}
		w.scratch = appendHeader(w.scratch, flags, len(f))
		w.bytes += int64(len(f)) + longHeader
		if len(f) <= copyBelow {
			w.scratch = append(w.scratch, f...)
			continue
		}
		w.cut()
		w.bufs = append(w.bufs, f)
	}
}

// cut ends the present run of small bytes. A later append may move scratch;
// the run then keeps the old array, whose bytes stay as they are.
func (w *writer) cut() {
	if len(w.scratch) > w.from {
		w.bufs = append(w.bufs, w.scratch[w.from:])
		w.from = len(w.scratch)
	}
}

// flush writes the batch and behind it the commands that are due. So even while the queue is never
// empty the peer is asked, and gets its answer. Else it would be taken for dead, or we.
func (c *Conn) flush() error {
	w := &c.out
	var ping bool
	w.scratch, ping = w.commands.take(w.scratch)
	began := time.Now()
	w.cut()
	if len(w.bufs) == 0 {
		return nil
	}
	err := c.transmit(c.deadline(w.bytes))
	w.reset()
	if err != nil {
		return fmt.Errorf("write to %s: %w", c.peer.Addr, err)
	}
	if heard := c.Heard(); ping && heard.Before(began) { // else it may be answered already
		w.commands.pinged(heard)
	}
	return nil
}

// deadline is the time until which n bytes have to leave. One that moves on with each message
// makes timers of the runtime expire for nothing, at moments of their own.
func (c *Conn) deadline(n int64) time.Time {
	limit := c.cfg.WriteTimeout + time.Duration(n)*(time.Second/writeRate)
	from := c.cfg.TimersFrom
	if from.IsZero() {
		return time.Now().Add(limit)
	}
	until := time.Since(from) + limit + time.Second - 1
	return from.Add(until - until%time.Second)
}

// transmit writes the batch to the network until then at the latest.
func (c *Conn) transmit(until time.Time) error {
	if c.tls != nil {
		return c.tls.send(c.out.bufs, until)
	}
	if err := c.nc.SetWriteDeadline(until); err != nil {
		return err
	}
	return c.out.send(c.nc)
}

// send writes all of bufs: with writev where nc is a *net.TCPConn.
func (w *writer) send(nc net.Conn) error {
	if len(w.bufs) == 1 {
		_, err := nc.Write(w.bufs[0])
		return err
	}
	w.sending = w.bufs
	_, err := w.sending.WriteTo(nc)
	w.sending = nil
	return err
}

// reset forgets the batch; the arrays are used again.
func (w *writer) reset() {
	clear(w.bufs)
	w.bufs = w.bufs[:0]
	w.from, w.bytes = 0, 0
	if cap(w.scratch) > keepScratch {
		w.scratch = nil
	}
	w.scratch = w.scratch[:0]
}
