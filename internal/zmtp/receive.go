package zmtp

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
)

// Sink decides where a frame goes, for every frame after a message's first.
// prev are the frames before it. It returns size bytes to fill, or nil: the
// frame is then read and thrown away. An error closes the connection. The bytes
// must stay the frame's until Receive has returned, or the connection has ended
// and Receive with it. A Sink must not block: nothing is read meanwhile.
type Sink func(prev [][]byte, size int64) ([]byte, error)

// Message is a message that was received.
type Message struct {
	// Frames are never none. A frame that a Sink did not want is nil; an empty
	// one is not.
	Frames [][]byte

	inline  [defaultFrames][]byte
	buffers []*budget.Buffer
}

// Release gives the frames that came out of the budget back. They must not be
// touched afterwards; those of up to FreeFrame bytes, and those of a Sink, may.
func (m *Message) Release() {
	for _, b := range m.buffers {
		b.Release()
	}
	m.buffers = nil
}

// budgetWait is the longest wait of a message for memory before it is given up.
const budgetWait = 30 * time.Second

// Receive reads the next message. Frames above FreeFrame come from the Pool with a nil Sink, and in
// any case for the first frame. Receive waits for the Pool if it must; Message.Release gives them
// back. Any error closes the connection and is a raid.ErrPeerGone.
func (c *Conn) Receive(into Sink) (*Message, error) {
	m := new(Message)
	m.Frames = m.inline[:0]
	if err := c.receive(m, into); err != nil {
		m.Release()
		c.CloseWith(err)
		return nil, gone("receive from", c.peer, c.Err())
	}
	return m, nil
}

func (c *Conn) receive(m *Message, into Sink) error {
	in := c.in
	total := int64(0)
	for {
		if len(m.Frames) == 0 {
			in.end()
			if err := in.fill(1); err == io.EOF {
				return fmt.Errorf("the peer closed the connection: %w", err)
			} else if err != nil {
				return err
			}
			in.begin()
		}
		h, err := in.readHeader()
		if err != nil {
			return err
		}
		if h.command { // libzmq sends them between the frames of a message too
			if err := c.command(h); err != nil {
				return err
			}
			continue
		}
		if err := c.bound(len(m.Frames)+1, h.size, total+h.size); err != nil {
			return err
		}
		total += h.size
		in.announce(h.size)
		frame, err := c.frame(m, h.size, into)
		if err != nil {
			return err
		}
		m.Frames = append(m.Frames, frame)
		if !h.more {
			in.end()
			return nil
		}
	}
}

// bound checks a frame's announcement before anything is done for it.
func (c *Conn) bound(number int, size, total int64) error {
	l := &c.cfg.Limits
	switch {
	case number > l.MaxFrames:
		return malformed("message of more than %d frames", l.MaxFrames)
	case size > l.MaxFrame:
		return malformed("frame of %d bytes, at most %d are read here", size, l.MaxFrame)
	case total > l.MaxMessage:
		return malformed("message of more than %d bytes", l.MaxMessage)
	}
	return nil
}

// frame reads a frame's body to where it belongs.
func (c *Conn) frame(m *Message, size int64, into Sink) ([]byte, error) {
	in := c.in
	if into != nil && len(m.Frames) > 0 {
		body, err := into(m.Frames, size)
		switch {
		case err != nil:
			return nil, err
		case body == nil:
			return nil, in.discard(size)
		case int64(len(body)) != size:
			return nil, fmt.Errorf("receive a frame of %d bytes: the sink has %d", size, len(body))
		}
		return body, in.readFull(body)
	}
	// Memory only for what comes: first the frame, or as much of it as the
	// buffer takes.
	if err := in.fill(int(min(size, int64(len(in.buf))))); err != nil {
		return nil, err
	}
	if size <= c.cfg.Limits.FreeFrame {
		body := make([]byte, size)
		return body, in.readFull(body)
	}
	buf, err := c.acquire(int(size))
	if err != nil {
		return nil, err
	}
	m.buffers = append(m.buffers, buf)
	return buf.Bytes(), in.readFull(buf.Bytes())
}

// acquire takes a large frame's buffer from the budget.
func (c *Conn) acquire(size int) (*budget.Buffer, error) {
	pool := c.cfg.Pool
	if pool == nil {
		return nil, malformed("frame of %d bytes, at most %d are read here", size, c.cfg.Limits.FreeFrame)
	}
	if buf, ok := pool.TryGet(size); ok {
		return buf, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, budgetWait)
	defer cancel()
	var buf *budget.Buffer
	var err error
	c.in.pause(func() { buf, err = pool.Acquire(ctx, size) })
	return buf, err
}

// command handles a command that comes after the handshake.
func (c *Conn) command(h header) error {
	if err := c.in.fill(int(h.size)); err != nil {
		return err
	}
	name, data, err := splitCommand(c.in.next(int(h.size)))
	if err != nil {
		return err
	}
	switch name {
	case cmdPing:
		if len(data) < 2 || len(data) > 2+maxContext {
			return malformed("PING of %d bytes", len(data))
		}
		c.out.commands.setPong(data[2:])
	case cmdError:
		return &RefusedError{Reason: parseError(data)}
	}
	return nil // PONG has been heard; the others belong to later versions
}
