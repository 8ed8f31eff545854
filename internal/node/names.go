package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/raidpi/raidpi/internal/wire"
)

// maxOthers is the number of further names of the controller that are tried, each for as long as
// one takes.
const maxOthers = 4

// hostName is the machine's name now.
func (c *Config) hostName() string {
	if c.HostName == nil {
		return c.Name
	}
	return c.HostName()
}

// told takes note of names that the controller tells. Its own names help to find it when its
// machine has got another one. The other name is this node's. The controller's word comes over a
// connection that proves it.
func (d *daemon) told(l *session, t wire.Told) {
	if t.Name != "" {
		name := oneLine(t.Name)
		l.name.Store(&name)
	}
	var hosts []string
	for _, h := range t.Hosts {
		if isHost(h) && len(hosts) < maxOthers {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return
	}
	others := strings.Join(hosts, " ")
	if before := d.others.Swap(&others); before != nil && *before == others {
		return
	}
	remembered, err := readAddress(d.cfg.StateDir)
	if err == nil && remembered.Others != others {
		remembered.Others = others
		err = writeAddress(d.cfg.StateDir, remembered)
	}
	if err != nil {
		l.log.Warn("What the controller is called now is forgotten at the next start", "reason", err)
	}
}

// isHost accepts addresses, and what can be a name in DNS.
func isHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return h != "" && len(h) <= 253 && !strings.ContainsFunc(h, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// dial connects to the controller, and where it is not found, by the other names that
// it has told. Whoever answers has to prove that it is the array's.
func (d *daemon) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.cfg.Dial(ctx, network, address)
	host, port, bad := net.SplitHostPort(address)
	place := d.controllerAddress()
	if err == nil || bad != nil || host != place.Host {
		return conn, err
	}
	others := place.Others
	if now := d.others.Load(); now != nil {
		others = *now
	}
	for _, other := range strings.Fields(others) {
		if other == host || ctx.Err() != nil {
			continue
		}
		if conn, err := d.cfg.Dial(ctx, network, net.JoinHostPort(other, port)); err == nil {
			return conn, nil
		}
	}
	if others != "" {
		err = fmt.Errorf("%w (nor by %s)", err, others)
	}
	return nil, err
}
