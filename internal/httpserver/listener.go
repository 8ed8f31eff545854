package httpserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// firstOfTLS is the first byte of a connection that speaks TLS: the record
	// type of its ClientHello (RFC 8446, 5.1). No request of HTTP begins with it.
	firstOfTLS = 0x16
	// firstTimeout bounds the time until that byte arrives.
	firstTimeout = 10 * time.Second
	// longestPause is the longest wait after the system had no connection to give.
	longestPause = time.Second
)

// ListenerConfig configures a Listener.
type ListenerConfig struct {
	TLS       *tls.Config         // of connections that speak TLS; nil: none may
	Plaintext func(net.Addr) bool // whether this remote end may speak HTTP without TLS; nil: everybody
	Log       *slog.Logger

	// MaxPending bounds the connections that have not said yet what they speak, are in
	// a TLS handshake or wait for one, or are being told that it is not spoken here.
	// When one more comes, one of the address that has most of them goes, the one that
	// came first. 512 unless set: more than one address may have.
	MaxPending int
	// MaxPerAddress bounds the open connections of one remote address, which is 64
	// bits of an IPv6 address; more are closed at once. 256 unless set. It does not
	// hold for this machine, whose programs and proxies all have one address.
	MaxPerAddress int
}

// Listener hands out connections that have begun to speak: those that speak TLS
// as a *tls.Conn whose handshake is done, and others as they are.
// One that must not do without TLS is told so and is not handed out.
type Listener struct {
	ln         net.Listener
	cfg        ListenerConfig
	ready      chan net.Conn
	closed     chan struct{} // by Close
	ended      chan struct{} // when no connection is accepted any more
	failed     error         // why, if not for Close; set before ended is closed
	tasks      sync.WaitGroup
	limiter    connLimiter
	handshakes handshakes
	open       context.Context // ended by Close, for who waits for a turn
	end        context.CancelFunc
}

// NewListener begins to accept connections of ln, which it owns from now on.
func NewListener(ln net.Listener, cfg ListenerConfig) *Listener {
	cfg.MaxPending = cmp.Or(max(cfg.MaxPending, 0), 512)
	cfg.MaxPerAddress = cmp.Or(max(cfg.MaxPerAddress, 0), 256)
	l := &Listener{
		ln: ln, cfg: cfg, ready: make(chan net.Conn), closed: make(chan struct{}), ended: make(chan struct{}),
		limiter: connLimiter{maxPending: cfg.MaxPending, maxPerAddress: cfg.MaxPerAddress, open: map[netip.Addr]int{}},
	}
	l.open, l.end = context.WithCancel(context.Background())
	l.tasks.Go(l.accept)
	return l
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.ended:
		if l.failed == nil {
			return nil, net.ErrClosed
		}
		return nil, l.failed
	}
}

// Close stops listening, closes the connections that were not handed out, and
// waits for the goroutines that had them.
func (l *Listener) Close() error {
	waiting, first := l.limiter.close()
	if !first {
		l.tasks.Wait()
		return nil
	}
	close(l.closed)
	l.end()
	err := l.ln.Close()
	for _, c := range waiting {
		_ = c.Close() // its goroutine notices
	}
	l.tasks.Wait()
	return err
}

// accept takes connections in until the listener is closed or fails.
func (l *Listener) accept() {
	defer close(l.ended)
	pause := time.Duration(0)
	for {
		nc, err := l.ln.Accept()
		if err != nil {
			if pause = l.pause(err, pause); pause == 0 {
				return
			}
			continue
		}
		pause = 0
		l.admit(nc)
	}
}

// pause waits when no connection could be had, and says for how long: each time
// twice as long as before. 0: it is of no use to go on.
func (l *Listener) pause(err error, last time.Duration) time.Duration {
	if isFinal(err) {
		select {
		case <-l.closed:
		default:
			l.failed = err
		}
		return 0
	}
	next := min(max(2*last, 5*time.Millisecond), longestPause)
	if next == longestPause && last != longestPause { // once for each shortage
		l.cfg.Log.Warn("HTTP connections can't be accepted at the moment", "error", err)
	}
	select {
	case <-time.After(next):
		return next
	case <-l.closed:
		return 0
	}
}

// isFinal tells after which errors of accept(2) there is nothing left to accept
// from. Others pass: shortages, what has happened to the one connection that was
// to be accepted, and whatever a firewall or a security module makes up (EPERM,
// EPROTO, EHOSTUNREACH). A daemon that ended for them could be ended by a stranger.
func isFinal(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL)
}

// patient is a listener that net/http does not give up, which it does after any
// error that does not call itself temporary, of which there are few.
type patient struct{ net.Listener }

// Accept implements net.Listener.
func (p patient) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil && !isFinal(err) {
		return nil, passing{err}
	}
	return c, err
}

// passing is an error after which net/http tries again, a second later at most.
type passing struct{ error }

// Timeout implements net.Error.
func (passing) Timeout() bool { return false }

// Temporary implements net.Error.
func (passing) Temporary() bool { return true }

// Unwrap says what happened.
func (p passing) Unwrap() error { return p.error }

// admit gives a new connection a goroutine that finds out what it speaks, if
// there is room for it.
func (l *Listener) admit(nc net.Conn) {
	c := &conn{Conn: nc, limiter: &l.limiter, from: addressOf(nc.RemoteAddr())}
	if isHere(c.from) {
		c.from = netip.Addr{}
	}
	oldest, why := l.limiter.admit(c)
	if why != "" {
		_ = nc.Close()
		if l.limiter.mayLog(time.Now()) {
			l.cfg.Log.Warn("HTTP connection closed: "+why, "remote", nc.RemoteAddr(), "limit", l.cfg.MaxPerAddress)
		}
		return
	}
	if oldest != nil {
		_ = oldest.Close()
	}
	l.tasks.Go(func() { l.sniff(c) })
}

// sniff waits for a connection's first byte and hands it out as what that says,
// over TLS after the handshake.
func (l *Listener) sniff(c *conn) {
	defer l.limiter.handshaken(c)
	if c.SetReadDeadline(time.Now().Add(firstTimeout)) != nil || !c.peek() || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close()
		return
	}
	var out net.Conn = c
	switch {
	case c.first == firstOfTLS && l.cfg.TLS != nil:
		t, err := l.secure(c)
		if err != nil {
			l.cfg.Log.Log(context.Background(), slog.LevelDebug, "TLS handshake error", "remote", c.RemoteAddr(), "error", err)
			_ = c.Close()
			return
		}
		out = t
	case l.cfg.Plaintext != nil && !l.cfg.Plaintext(c.RemoteAddr()):
		l.cfg.Log.Debug("HTTP without TLS refused; see plaintext under [http]", "remote", c.RemoteAddr())
		c.turnAway()
		return
	}
	select {
	case l.ready <- out:
	case <-l.closed:
		_ = c.Close()
	}
}
