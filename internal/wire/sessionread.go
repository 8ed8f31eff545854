package wire

import (
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

const (
	// maxHead bounds the first frame of a request, in bytes. The largest are a delete of 1,000
	// names and the description of a file with a name of 5,000 characters.
	maxHead = 128 << 10
	// maxResponse bounds the first frame of what comes in on port 5558, in bytes. Any stranger may
	// begin one there. zmtp holds no memory for so little before it has come. The largest are a
	// list of 400 names and the checksums of 3,800 blocks.
	maxResponse = 16 << 10
)

// readControl takes in acknowledgements, errors and heartbeats until the
// connection ends.
func (s *Session) readControl(c *zmtp.Conn) error {
	for {
		m, err := c.Receive(nil)
		if err != nil {
			return err
		}
		r, err := decodeControl(m.Frames)
		m.Release()
		if err != nil {
			return err
		}
		if r.id == 0 {
			s.heard(decodeHeartbeat(r.pb.GetHeartbeat()))
			continue
		}
		s.answer(r)
	}
}

// decodeControl parses a message of the control connection.
func decodeControl(frames [][]byte) (response, error) {
	if len(frames) != 1 {
		return response{}, fmt.Errorf("read response: %d frames on the control connection, want one", len(frames))
	}
	return decodeResponse(frames[0])
}

// readData takes in payloads until the connection ends. Each is read straight
// into the slice of the Get that waits for it, or thrown away.
func (s *Session) readData(c *zmtp.Conn) error {
	d := dataReader{session: s}
	for {
		m, err := c.Receive(d.sink)
		if err == nil && len(m.Frames) != 2 {
			err = errNoPayload
		}
		d.finish(err)
		if err != nil {
			return err
		}
		m.Release()
	}
}

// dataReader is the reader of a data connection, in the middle of a message.
type dataReader struct {
	session *Session
	call    *call // the Get that is answered; nil for a late or strange answer
	out     outcome
}

// sink decides where a payload of the given size goes: nil is thrown away.
func (d *dataReader) sink(prev [][]byte, size int64) ([]byte, error) {
	if len(prev) != 1 {
		return nil, errNoPayload
	}
	r, err := decodeResponse(prev[0])
	if err != nil {
		return nil, err
	}
	d.session.setReading(true)
	c := d.session.fill(r)
	if c == nil {
		return nil, nil
	}
	d.call = c
	d.out = outcome{resp: r, err: r.err}
	if r.err != nil {
		return nil, nil
	}
	d.out.get, d.out.err = r.getResult(c.expect, c.unchecked)
	if d.out.err == nil && size != int64(len(c.dst)) {
		d.out.err = fmt.Errorf("read chunk %s: %w: %d bytes came where %d were asked for", r.name, raid.ErrCorrupt, size, len(c.dst))
	}
	if d.out.err != nil {
		return nil, nil
	}
	return c.dst, nil
}

// finish ends the call of the message that is over, with err when the connection
// is.
func (d *dataReader) finish(err error) {
	d.session.setReading(false)
	if d.call == nil {
		return
	}
	if err != nil {
		d.out = outcome{err: gone("read chunk "+string(d.call.name), err)}
	}
	d.session.filled(d.call, d.out)
	d.call = nil
}

// readNothing keeps reading a connection on which the peer has nothing to say. So the end of the
// connection is noticed. Whatever the peer says all the same ends it.
func readNothing(c *zmtp.Conn) error {
	m, err := c.Receive(nil)
	if err != nil {
		return err
	}
	m.Release()
	return fmt.Errorf("read %s connection: the peer sent a message where it has none to send", c.Peer().Type)
}

// readSubscriptions is readNothing for a native SUB, whose subscriptions are
// welcome and without effect: its requests are addressed.
func readSubscriptions(c *zmtp.Conn) error {
	for {
		m, err := c.Receive(nil)
		if err != nil {
			return err
		}
		_, _, ok := parseSubscription(m.Frames)
		m.Release()
		if !ok {
			return fmt.Errorf("read SUB connection: the peer sent a message that is no subscription")
		}
	}
}

// parseSubscription reads a subscription as ZMTP 3.0 writes it: one frame, 1 to
// subscribe or 0 to cancel, then the prefix.
func parseSubscription(frames [][]byte) (topic string, on, ok bool) {
	if len(frames) != 1 || len(frames[0]) == 0 || frames[0][0] > 1 {
		return "", false, false
	}
	return string(frames[0][1:]), frames[0][0] == 1, true
}
