package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// linkBuffer is the number of bytes that each hop of a connection holds in each direction.
const linkBuffer = 8 << 10

// network is the network of a run. Every connection goes through a relay of ours. It hands on what
// was written after a time that its seed decides, so hardly ever two things happen at one moment.
// As TCP it loses nothing: it delays, hangs or cuts.
type network struct {
	mem  memnet.Network
	seed uint64

	mu    sync.Mutex
	hosts map[string]*host
	wg    sync.WaitGroup
}

// host is a machine.
type host struct {
	down   bool // nobody reaches it, and it reaches nobody
	lag    time.Duration
	dialed map[string]uint64 // how often, by address
	links  []*link           // in the order in which they began
}

// link is a connection.
type link struct {
	net      *network
	from, to string // hosts
	ends     [2]*memnet.Conn
	far      net.Conn
}

func newNetwork(seed uint64) *network {
	return &network{seed: seed, hosts: map[string]*host{}, mem: memnet.Network{Buffer: linkBuffer}}
}

// host must be called with mu held.
func (n *network) host(name string) *host {
	h := n.hosts[name]
	if h == nil {
		h = &host{dialed: map[string]uint64{}}
		n.hosts[name] = h
	}
	return h
}

// setDown takes a machine off the network, or puts it back.
func (n *network) setDown(name string, down bool) {
	n.mu.Lock()
	n.host(name).down = down
	n.mu.Unlock()
	if down {
		n.cut(name)
	}
}

// setLag makes all that a machine sends and gets later by so much.
func (n *network) setLag(name string, lag time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host(name).lag = lag
}

// cut breaks all connections of a machine; what is under way is lost.
func (n *network) cut(name string) {
	n.mu.Lock()
	all := slices.Clone(n.host(name).links)
	n.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

func (l *link) close() {
	l.ends[0].Close()
	l.ends[1].Close()
	l.far.Close()
}

// listen is controller.Config.Listen.
func (n *network) listen(_ context.Context, _, address string) (net.Listener, error) {
	return n.mem.Listen(address)
}

var errUnreachable = fmt.Errorf("no route to the machine: %w", syscall.EHOSTUNREACH)

// dialer is the Dial of a machine.
func (n *network) dialer(from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		to, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		h := n.host(from)
		h.dialed[address]++
		rng := rand.New(rand.NewPCG(n.seed, mix(from, address, h.dialed[address])))
		n.mu.Unlock()
		select { // the way there
		case <-time.After(n.latency(rng, from, to)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return n.connect(ctx, rng, from, to, address)
	}
}

func (n *network) connect(ctx context.Context, rng *rand.Rand, from, to, address string) (net.Conn, error) {
	n.mu.Lock()
	down := n.host(from).down || n.host(to).down
	n.mu.Unlock()
	if down {
		return nil, errUnreachable
	}
	far, err := n.mem.DialFrom(ctx, from, address)
	if err != nil {
		return nil, err
	}
	near, relay := memnet.Pipe(far.LocalAddr().(memnet.Addr), memnet.Addr(address), linkBuffer)
	l := &link{net: n, from: from, to: to, ends: [2]*memnet.Conn{near, relay}, far: far}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.host(from).down || n.host(to).down {
		l.close()
		return nil, errUnreachable
	}
	for _, h := range []*host{n.host(from), n.host(to)} {
		h.links = append(h.links, l)
	}
	there, back := rand.New(rand.NewPCG(rng.Uint64(), 1)), rand.New(rand.NewPCG(rng.Uint64(), 2))
	var both sync.WaitGroup
	both.Go(func() { l.relay(there, relay, far) })
	both.Go(func() { l.relay(back, far, relay) })
	n.wg.Go(func() {
		both.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, h := range []*host{n.host(from), n.host(to)} {
			h.links = slices.DeleteFunc(h.links, func(other *link) bool { return other == l })
		}
	})
	return near, nil
}

// relay hands on one direction of a connection.
func (l *link) relay(rng *rand.Rand, from, to net.Conn) {
	buf := make([]byte, linkBuffer)
	for {
		k, err := from.Read(buf)
		time.Sleep(l.net.latency(rng, l.from, l.to))
		if k > 0 {
			if _, werr := to.Write(buf[:k]); werr != nil {
				from.Close()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.(interface{ CloseWrite() error }).CloseWrite()
			return
		case err != nil:
			to.Close()
			return
		}
	}
}

// latency is the time that bytes sent now are under way.
func (n *network) latency(rng *rand.Rand, from, to string) time.Duration {
	d := time.Duration(50_000 + rng.Int64N(1_000_000))
	n.mu.Lock()
	defer n.mu.Unlock()
	return d + n.host(from).lag + n.host(to).lag
}

// mix makes a number of words.
func mix(words ...any) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(fmt.Sprint(words...)) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}
