package zmtp

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/go-zeromq/zmq4"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

// SocketType is a ZMTP socket type. Ours are the four below; a peer may also
// be an XPUB or XSUB, as a proxy of libzmq's would be.
type SocketType string

// The socket types that connections of this package can have.
const (
	Push SocketType = "PUSH"
	Pull SocketType = "PULL"
	Pub  SocketType = "PUB"
	Sub  SocketType = "SUB"
)

// fits reports whether a peer of type other may talk to t.
func (t SocketType) fits(other SocketType) bool {
	switch t {
	case Push:
		return other == Pull
	case Pull:
		return other == Push
	case Pub:
		return other == Sub || other == "XSUB"
	case Sub:
		return other == Pub || other == "XPUB"
	}
	return false
}

// Properties describe a peer in its READY, besides type and identity. Keys are lower case and
// without the "X-" that they have on the wire. All of ours together are at most 256 bytes.
type Properties map[string]string

// maxProperties is the room for our own properties in READY, in bytes. zmq4
// panics when it sends one of 512.
const maxProperties = 256

func (p Properties) check() error {
	size := 0
	for k, v := range p {
		if k == "" || !validKey(k) || lower(k) != k {
			return fmt.Errorf("check handshake property %q: its name must be lower-case letters, digits and -_.+: %w", k, raid.ErrInvalid)
		}
		size += len("X-") + len(k) + len(v)
	}
	if size > maxProperties {
		return fmt.Errorf("check handshake properties: %d bytes, at most %d fit: %w", size, maxProperties, raid.ErrTooLarge)
	}
	return nil
}

// Peer is the other end of a connection, as its handshake describes it.
type Peer struct {
	Type       SocketType
	Identity   string // 0 to 255 bytes
	Properties Properties
	Addr       net.Addr
	// TLS describes a peer inside TLS; nil if the connection is plaintext.
	TLS *tls.ConnectionState
}

// Limits bound what a peer may send after the handshake. More is a protocol
// error, which closes the connection.
type Limits struct {
	// MaxFrame is the largest frame in bytes, 1 GiB at most. Default: 4 KiB for
	// Push and Pub, which receive subscriptions at most; 64 KiB else.
	MaxFrame int64
	// MaxMessage is the largest sum of a message's frames in bytes. Default:
	// MaxFrame.
	MaxMessage int64
	// MaxFrames is the largest number of frames in a message. Default 3.
	MaxFrames int
	// FreeFrame is the largest frame that is allocated without asking the
	// budget, in bytes. Default 64 KiB.
	FreeFrame int64
}

// Config describes our end of a connection.
type Config struct {
	Type       SocketType
	Properties Properties
	// TLS is the configuration with which a connecting side speaks TLS before anything else. There
	// is no way back to plaintext. On the binding side, peers that begin with TLS are let in as
	// well as others. Admit tells them apart by Peer.TLS. Nil: plaintext alone.
	// DynamicRecordSizingDisabled makes for fewer records.
	TLS *tls.Config
	// Admit, on the binding side, decides on a peer before READY is answered.
	// What it returns is added to Properties; its error's text (the first 255
	// bytes) is sent to the peer as ERROR. Nil admits everybody.
	Admit  func(Peer) (Properties, error)
	Limits Limits
	// Pool gives the memory for frames above Limits.FreeFrame, unless a Sink takes
	// them. Without a pool such frames are a protocol error.
	Pool *budget.Pool
	// HandshakeTimeout bounds the whole handshake, that of TLS included. Default 5 s.
	HandshakeTimeout time.Duration
	// WriteTimeout, plus the message's size at 1 MB/s, bounds the time in which one message leaves;
	// see TimersFrom. Default 5 s.
	WriteTimeout time.Duration
	// ProgressTimeout bounds the wait for the next bytes of a message that has begun. The whole
	// message has that, plus its size at 64 KiB/s. Default 5 s.
	ProgressTimeout time.Duration
	// PingEvery is the time between looks at the peer. The peer gets a PING when it has been silent
	// for three quarters of that or longer. 0: no PINGs.
	PingEvery time.Duration
	// TimersFrom is the moment from which PingEvery is counted. A message's time to leave is
	// rounded up so that it ends whole seconds after it. Connections that share it wake an idle
	// process together. Zero: the connection's opening, and no rounding.
	TimersFrom time.Time
	// PingTimeout is the longest silence of the peer before the connection is closed. 0: for ever.
	PingTimeout time.Duration
}

const (
	defaultHandshake = 5 * time.Second
	defaultWrite     = 5 * time.Second
	defaultProgress  = 5 * time.Second
	writeRate        = 1_000_000 // bytes/s, the slowest peer that is still sent to
	readRate         = 64 << 10  // bytes/s, the slowest peer that memory is held for

	largestFrame    = 1 << 30 // so that an int holds it everywhere
	accidentalFrame = 4 << 10
	defaultFrame    = 64 << 10
	defaultFrames   = 3
)

// complete fills in the defaults and refuses what can't work.
func (cfg *Config) complete() error {
	switch cfg.Type {
	case Push, Pull, Pub, Sub:
	default:
		return fmt.Errorf("set up a ZMTP connection: no socket type %q: %w", cfg.Type, raid.ErrInvalid)
	}
	l := &cfg.Limits
	if l.MaxFrame <= 0 {
		l.MaxFrame = defaultFrame
		if cfg.Type == Push || cfg.Type == Pub {
			l.MaxFrame = accidentalFrame
		}
	}
	l.MaxFrame = min(l.MaxFrame, largestFrame)
	if l.MaxMessage <= 0 {
		l.MaxMessage = l.MaxFrame
	}
	if l.MaxFrames <= 0 {
		l.MaxFrames = defaultFrames
	}
	if l.FreeFrame <= 0 {
		l.FreeFrame = defaultFrame
	}
	if cfg.HandshakeTimeout <= 0 {
		cfg.HandshakeTimeout = defaultHandshake
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = defaultWrite
	}
	if cfg.ProgressTimeout <= 0 {
		cfg.ProgressTimeout = defaultProgress
	}
	return cfg.Properties.check()
}

func (t SocketType) zmq4() zmq4.SocketType { return zmq4.SocketType(t) }
