package controller

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// httpsCertificate keeps the certificate that browsers see. It is the one that hangs on the
// clock, since browsers look at theirs.
type httpsCertificate struct {
	ca         *identity.CA
	dir        string
	configured []string  // names and addresses, from the configuration
	built      time.Time // before which no clock is right
	machine    func() (hostname string, addresses []netip.Addr)
	announced  func(hostname string, addresses []netip.Addr) string // by avahi-daemon; nil: nobody is asked
	random     io.Reader
	tell       raid.Tell // nil: nobody is told
	log        *slog.Logger

	seen    identity.Hosts // by renew alone
	last    machine        // the same
	current atomic.Pointer[tls.Certificate]
	hosts   atomic.Pointer[identity.Hosts]
}

// leafRound is the interval of the looks whether the certificate is due: soon after
// the clock has been set, or the machine has got an address.
const leafRound = time.Minute

// renew makes the certificate anew where that is due.
func (l *httpsCertificate) renew(now time.Time) error {
	h := hosts(l.configured, l.look(), l.seen)
	if now.Before(l.built) {
		return l.timeless(h)
	}
	if kept := l.hosts.Load(); kept != nil && slices.Equal(kept.DNS, h.DNS) && len(kept.IPs) == len(h.IPs) &&
		identity.HTTPSDue(l.current.Load().Leaf, h, now, l.built) == "" {
		return nil
	}
	c, why, err := l.ca.OpenHTTPS(l.dir, h, now, l.built, l.random)
	if err != nil {
		return err
	}
	if why != "" {
		l.log.Info("a certificate for HTTPS was made", "reason", why, "names", h.DNS, "until", c.Leaf.NotAfter)
	}
	l.seen = h
	l.current.Store(&c)
	l.hosts.Store(&h)
	return nil
}

// timeless serves until the clock is set. Who asks his own clock whether the certificate
// is over would be locked out by one that ended in 1971. It stays in
// memory, where nobody steals its key with the card.
func (l *httpsCertificate) timeless(h identity.Hosts) error {
	if kept := l.hosts.Load(); kept != nil && identity.IsTimeless(l.current.Load().Leaf) && slices.Equal(kept.DNS, h.DNS) && len(kept.IPs) == len(h.IPs) {
		return nil
	}
	c, err := l.ca.IssueTimeless(h, l.random)
	if err != nil {
		return err
	}
	l.log.Info("a certificate for HTTPS was made that serves until the clock is set", "names", h.DNS)
	l.seen = h
	l.current.Store(&c)
	l.hosts.Store(&h)
	return nil
}

// look asks the machine who it is. The name that avahi-daemon announces is kept
// while avahi-daemon does not answer.
func (l *httpsCertificate) look() machine {
	var m machine
	m.hostname, m.addresses = l.machine()
	if l.announced != nil {
		m.announced = l.announced(m.hostname, m.addresses)
	}
	if m.announced == "" && m.hostname == l.last.hostname {
		m.announced = l.last.announced
	}
	l.last = m
	return m
}

// run looks again until ctx ends, and soon where the machine has got another name.
func (l *httpsCertificate) run(ctx context.Context) error {
	tick := time.NewTicker(nameRound)
	defer tick.Stop()
	for last, failed := time.Now(), false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if hostname, _ := l.machine(); hostname == l.last.hostname && time.Since(last) < leafRound {
			continue
		}
		last = time.Now()
		if err := l.renew(time.Now()); err != nil {
			l.log.Warn("the certificate for HTTPS could not be made anew; the old one stays in use", "error", err)
			if l.tell != nil && !failed {
				l.tell(raid.Event{Kind: raid.CertificateBad, Text: fmt.Sprintf("the certificate for HTTPS could not be made anew: %v", err),
					Advice: "see whether the disk of state_dir is full or read-only; browsers and raidctl are served with the old one until it ends"})
			}
			failed = true
		} else {
			failed = false
		}
	}
}

// names are those by which people and nodes find the controller, the best first:
// its names, then its addresses but for loopback.
func (l *httpsCertificate) names() (all []string) {
	h := l.hosts.Load()
	for _, n := range h.DNS {
		if n != "localhost" {
			all = append(all, n)
		}
	}
	for _, a := range h.IPs {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() { // the latter say nothing without an interface
			all = append(all, a.String())
		}
	}
	return all
}
