package zmtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// The first byte of a connection tells its protocol. It is the record type of a TLS ClientHello
	// (RFC 8446, 5.1), or the signature of a ZMTP greeting.
	firstOfTLS  = 0x16
	firstOfZMTP = 0xFF

	// maxTLSHandshake is the most that is read from a peer until TLS stands, in
	// bytes: certificates of a few KiB, generously. crypto/tls would read 64 KiB
	// of a ClientHello and 256 KiB of certificates.
	maxTLSHandshake = 32 << 10

	// record is the most that a TLS record carries, and recordExtra more than
	// what any version adds to it (RFC 8446, 5.2).
	record      = 16 << 10
	recordExtra = 320
	// heldRecords is the number of records that leave in one write to the network.
	heldRecords = 4
)

// secure is the TLS of a connection, between the network and ZMTP.
type secure struct {
	*tls.Conn
	below *below
}

// newSecure puts TLS above in, of which said has been read already.
func newSecure(in *inbound, said []byte, cfg *tls.Config, server bool) *secure {
	b := &below{Conn: in.nc, in: in, said: said, left: maxTLSHandshake}
	s := &secure{below: b}
	if server {
		s.Conn = tls.Server(b, cfg)
	} else {
		s.Conn = tls.Client(b, cfg)
	}
	in.source = s.Read
	return s
}

// handshake makes TLS's handshake under the deadline of the connection.
func (s *secure) handshake(ctx context.Context) (*tls.ConnectionState, error) {
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, explain(err)
	}
	state := s.ConnectionState()
	return &state, nil
}

// established ends the rules of the handshake. From now on whatever TLS writes
// by itself, an alert or a new key, has timeout.
func (s *secure) established(timeout time.Duration) {
	b := s.below
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.timeout = -1, timeout
}

// sendBuffers has the buffers for writes inside TLS. They are lent for the time of the write, so
// that idle connections have none.
var sendBuffers = sync.Pool{New: func() any {
	return &sendBuffer{part: make([]byte, 0, record), held: make([]byte, 0, heldRecords*(record+recordExtra))}
}}

type sendBuffer struct {
	part []byte // of a record that is not full yet
	held []byte // records that have not left yet
}

// send writes all of bufs in as few records as they fit in, and these in few
// writes to the network. Only what does not fill a record is copied. After an
// error the connection is of no use: a record may have left in part.
func (s *secure) send(bufs net.Buffers, until time.Time) error {
	b := sendBuffers.Get().(*sendBuffer)
	defer sendBuffers.Put(b)
	if err := s.below.hold(b.held[:0], until); err != nil {
		return err
	}
	err := s.write(bufs, b.part[:0])
	return errors.Join(err, s.below.release())
}

func (s *secure) write(bufs net.Buffers, part []byte) error {
	for _, f := range bufs {
		for len(f) > 0 {
			if whole := len(f) - len(f)%record; len(part) == 0 && whole > 0 {
				if _, err := s.Write(f[:whole]); err != nil {
					return err
				}
				f = f[whole:]
				continue
			}
			n := copy(part[len(part):record], f)
			part, f = part[:len(part)+n], f[n:]
			if len(part) == record {
				if _, err := s.Write(part); err != nil {
					return err
				}
				part = part[:0]
			}
		}
	}
	if len(part) == 0 {
		return nil
	}
	_, err := s.Write(part)
	return err
}

// below is the network as TLS sees it.
type below struct {
	net.Conn
	in   *inbound
	said []byte // has been read from the network, and TLS reads it first
	left int    // what the peer may still say in TLS's handshake; -1 after it

	mu      sync.Mutex
	timeout time.Duration // of writes outside of hold; 0: the deadline stands
	holding bool
	held    []byte
}

// Read is called by TLS alone, in the goroutine that reads the connection.
func (b *below) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		return 0, malformed("TLS handshake of more than %d KiB", maxTLSHandshake>>10)
	}
	if b.left > 0 {
		p = p[:min(len(p), b.left)]
	}
	if len(b.said) > 0 {
		n = copy(p, b.said)
		b.said = b.said[n:]
	} else {
		n, err = b.in.network(p)
	}
	if b.left > 0 {
		b.left -= n
	}
	return n, err
}

// Write takes what TLS has to say: the writer's messages, but also what TLS
// answers while it reads.
func (b *below) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holding {
		if len(b.held)+len(p) > cap(b.held) {
			if err := b.flush(); err != nil {
				return 0, err
			}
		}
		if len(p) <= cap(b.held) {
			b.held = append(b.held, p...)
			return len(p), nil
		}
	} else if b.timeout > 0 {
		if err := b.SetWriteDeadline(time.Now().Add(b.timeout)); err != nil {
			return 0, err
		}
	}
	return b.Conn.Write(p)
}

// hold keeps what is written in buf until that is full, or release. All of it
// has to leave before the deadline.
func (b *below) hold(buf []byte, until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.SetWriteDeadline(until); err != nil {
		return err
	}
	b.holding, b.held = true, buf
	return nil
}

// release writes the records that are held and gives the buffer back to the caller of hold.
func (b *below) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.flush()
	b.holding, b.held = false, nil
	return err
}

func (b *below) flush() error {
	if len(b.held) == 0 {
		return nil
	}
	_, err := b.Conn.Write(b.held)
	b.held = b.held[:0]
	return err
}

// explain says in words why TLS with a peer failed. Timeouts stay what they are.
func explain(err error) error {
	var header tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	if alert := alertOf(err); alert != nil {
		return alert
	}
	switch {
	case isTimeout(err):
		return err
	case errors.As(err, &header):
		return fmt.Errorf("%w: the peer does not speak TLS: %w", ErrTLS, err)
	case errors.As(err, &verify):
		return fmt.Errorf("%w: the peer's certificate is not accepted here: %w", ErrTLS, verify.Err)
	case isCut(err):
		return fmt.Errorf("%w: the peer closed the connection; does it take TLS on this port? %w", ErrTLS, err)
	}
	return fmt.Errorf("%w: %w", ErrTLS, err)
}

// alertOf is the alert that the peer ended TLS with, in words; nil if it is no
// alert that err is about. A server's verdict on our certificate comes when our
// own handshake is over already (RFC 8446, 4.6 and E.1.2).
func alertOf(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return nil
	}
	text := strings.TrimPrefix(op.Err.Error(), "tls: ")
	if strings.Contains(text, "certificate") {
		return fmt.Errorf("%w, it says %q: %w", ErrUnwelcome, text, op)
	}
	return fmt.Errorf("%w: the peer broke it off with the alert %q: %w", ErrTLS, text, op)
}

// isCut reports whether err is the peer's end, or the network's.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
