package zmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"time"

	"github.com/go-zeromq/zmq4"
)

// Connect makes a connection of nc as the connecting side. It fails with a
// *RefusedError when the peer answers ERROR, and closes nc on any failure.
func Connect(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return open(ctx, nc, cfg, false)
}

// Accept makes a connection of nc as the binding side, which admits or refuses
// the peer. It closes nc on any failure; a peer that was refused gets a moment
// to read why.
func Accept(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return open(ctx, nc, cfg, true)
}

// open does either.
func open(ctx context.Context, nc net.Conn, cfg Config, bound bool) (*Conn, error) {
	if err := cfg.complete(); err != nil {
		nc.Close()
		return nil, err
	}
	h := &handshake{nc: nc, in: newInbound(nc, cfg.ProgressTimeout), cfg: &cfg, bound: bound}
	if err := h.run(ctx); err != nil {
		if h.linger {
			linger(ctx, nc)
		}
		nc.Close()
		return nil, fmt.Errorf("shake hands with %s: %w", nc.RemoteAddr(), err)
	}
	h.in.resize(readBuffer)
	if h.tls != nil {
		h.tls.established(cfg.WriteTimeout)
	}
	return newConn(nc, h.tls, h.in, cfg, h.peer), nil
}

// handshake is zmq4's Security for the NULL mechanism, and the net.Conn that zmq4.Open reads. It
// lets through one greeting and one READY or ERROR. Each is bounded and checked before zmq4 sees
// it, which is neither careful nor patient.
type handshake struct {
	nc    net.Conn
	in    *inbound
	cfg   *Config
	bound bool

	phase   int          // how many of greeting and command have been let through
	pending bytes.Buffer // checked, and not yet read by zmq4
	name    string       // of the peer's command
	reason  string       // if it is ERROR
	peer    Peer         // if it is READY
	linger  bool         // the peer has been told why, and gets time to read it

	tls   *secure // nil: plaintext
	state *tls.ConnectionState
}

func (h *handshake) run(ctx context.Context) (err error) {
	if err := h.nc.SetDeadline(time.Now().Add(h.cfg.HandshakeTimeout)); err != nil {
		return err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		h.nc.Close()
		close(ended)
	})
	if err = h.secure(ctx); err == nil {
		err = h.open()
	}
	if !stop() {
		<-ended
		return ctx.Err()
	}
	if err != nil {
		if isTimeout(err) {
			err = fmt.Errorf("%w: no handshake within %v: %w", ErrSilent, h.cfg.HandshakeTimeout, err)
		}
		return err
	}
	return h.nc.SetDeadline(time.Time{})
}

// secure finds out whether the peer speaks TLS and makes its handshake, which
// ZMTP's then goes through.
func (h *handshake) secure(ctx context.Context) (err error) {
	var said []byte
	if h.bound {
		if err := h.in.fill(1); err != nil {
			return fmt.Errorf("read the first byte: %w", err)
		}
		switch first := h.in.buf[h.in.r]; {
		case first == firstOfZMTP:
			return nil
		case first != firstOfTLS:
			return malformed("the first byte is %#02x, neither a ZMTP greeting's nor that of TLS", first)
		case h.cfg.TLS == nil:
			h.linger = true
			return malformed("the peer wants TLS, which is not set up here")
		}
		said = bytes.Clone(h.in.next(h.in.w - h.in.r))
	} else if h.cfg.TLS == nil {
		return nil
	}
	h.tls = newSecure(h.in, said, h.cfg.TLS, h.bound)
	h.state, err = h.tls.handshake(ctx)
	// An alert that says why may be on its way, unless it is the peer that ended it.
	h.linger = err != nil && !isTimeout(err) && !isCut(err) && alertOf(err) == nil
	return err
}

// open lets zmq4 do the greeting and our Handshake. zmq4 panics on some input;
// none of those known gets past Read, and the next one ends only its connection.
func (h *handshake) open() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = malformed("panic in the handshake: %v", r)
		}
	}()
	nc := h.nc
	if h.tls != nil {
		nc = h.tls
	}
	_, err = zmq4.Open(wrapped{nc, h}, h, h.cfg.Type.zmq4(), nil, false, nil)
	if alert := alertOf(err); alert != nil {
		return alert
	}
	return err
}

// Type is NULL: identity and secrecy come from TLS below, if at all.
func (h *handshake) Type() zmq4.SecurityType { return zmq4.NullSecurity }

// Encrypt and Decrypt do nothing, as NULL does.
func (h *handshake) Encrypt(w io.Writer, data []byte) (int, error) { return w.Write(data) }

// Decrypt returns data as it is.
func (h *handshake) Decrypt(w io.Writer, data []byte) (int, error) { return w.Write(data) }

// Handshake exchanges READY, the connecting side first. A libzmq peer sends its
// own at once, on either side.
func (h *handshake) Handshake(conn *zmq4.Conn, _ bool) error {
	if !h.bound {
		if err := h.sendReady(conn, h.cfg.Properties); err != nil {
			return err
		}
	}
	if _, err := conn.RecvCmd(); err != nil {
		return err
	}
	if h.name == cmdError {
		return &RefusedError{Reason: h.reason}
	}
	h.peer.Addr, h.peer.TLS = h.nc.RemoteAddr(), h.state
	conn.Peer.Meta["Socket-Type"] = string(h.peer.Type)
	if !h.cfg.Type.fits(h.peer.Type) {
		return h.refuse(conn, malformed("a %.10q socket can't talk to a %s socket", h.peer.Type, h.cfg.Type))
	}
	if !h.bound {
		return nil
	}
	return h.admit(conn)
}

// admit asks Admit and answers READY or ERROR.
func (h *handshake) admit(conn *zmq4.Conn) error {
	props := maps.Clone(h.cfg.Properties)
	if h.cfg.Admit != nil {
		more, err := h.cfg.Admit(h.peer)
		if err != nil {
			return h.refuse(conn, err)
		}
		if props == nil {
			props = Properties{}
		}
		maps.Copy(props, more)
	}
	if err := props.check(); err != nil {
		return h.refuse(conn, err)
	}
	return h.sendReady(conn, props)
}

func (h *handshake) sendReady(conn *zmq4.Conn, props Properties) error {
	for k, v := range props {
		conn.Meta[k] = v // zmq4 adds the X-
	}
	body, err := conn.Meta.MarshalZMTP()
	if err != nil {
		return fmt.Errorf("write READY: %w", err)
	}
	return conn.SendCmd(cmdReady, body)
}

// refuse tells the peer why and returns that reason as an error.
func (h *handshake) refuse(conn *zmq4.Conn, why error) error {
	if h.bound {
		if err := conn.SendCmd(cmdError, reasonBytes(why.Error())); err != nil {
			return fmt.Errorf("%w (and telling the peer failed: %w)", why, err)
		}
		h.linger = true
	}
	return why
}

// read is zmq4's view of the connection.
func (h *handshake) read(p []byte) (int, error) {
	if h.pending.Len() == 0 {
		var err error
		switch h.phase {
		case 0:
			err = h.greeting()
		case 1:
			err = h.command()
		default:
			err = errors.New("the handshake is over")
		}
		if err != nil {
			return 0, err
		}
		h.phase++
	}
	return h.pending.Read(p)
}

const greetingSize = 64

// greeting reads the peer's greeting, each field as soon as it is there: older
// peers never send the rest.
func (h *handshake) greeting() error {
	in := h.in
	if err := in.fill(10); err != nil {
		return err
	}
	if in.buf[in.r] != 0xFF || in.buf[in.r+9] != 0x7F {
		return malformed("greeting without ZMTP's signature")
	}
	if err := in.fill(11); err != nil {
		return err
	}
	if v := in.buf[in.r+10]; v < 3 {
		return malformed("the peer speaks version %d of ZMTP, 3 is needed: libzmq 4.0 or later", v)
	}
	if err := in.fill(greetingSize); err != nil {
		return err
	}
	g := in.next(greetingSize)
	if mech := string(bytes.TrimRight(g[12:32], "\x00")); mech != "NULL" {
		return malformed("the peer wants the security mechanism %q, only NULL is spoken here", mech)
	}
	if g[32] > 1 {
		return malformed("greeting with as-server %d", g[32])
	}
	h.pending.Write(g)
	return nil
}

// command reads READY or ERROR.
func (h *handshake) command() error {
	head, err := h.in.readHeader()
	if err != nil {
		return err
	}
	if !head.command {
		return malformed("a message before READY")
	}
	if err := h.in.fill(int(head.size)); err != nil {
		return err
	}
	body := h.in.next(int(head.size))
	name, data, err := splitCommand(body)
	if err != nil {
		return err
	}
	switch h.name = name; name {
	case cmdReady:
		h.peer, err = parseReady(data)
	case cmdError:
		h.reason = parseError(data)
	default:
		err = malformed("command %q where READY belongs", name)
	}
	if err != nil {
		return err
	}
	h.pending.Write(appendHeader(nil, flagCommand, len(body)))
	h.pending.Write(body)
	return nil
}

// wrapped is the connection as zmq4 gets it: reads go through the handshake.
type wrapped struct {
	net.Conn
	h *handshake
}

func (w wrapped) Read(p []byte) (int, error) { return w.h.read(p) }

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 10
)

// linger ends our half of nc and waits a moment for the peer to end its own. To close with unread
// input would reset the connection, and the reason that we just wrote might never be read.
func linger(ctx context.Context, nc net.Conn) {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		if half.CloseWrite() != nil {
			return
		}
	}
	if nc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	_, _ = io.CopyN(io.Discard, nc, lingerBytes)
}
