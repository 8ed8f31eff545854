package controller

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// Limits for nodes of other arrays that knock. They prove nothing, so anybody can make
// them up: few are remembered, and few are logged.
const (
	maxStrangers    = 64
	strangerRecent  = 5 * time.Minute // after its last knock one counts as there; nodes knock each minute at least
	strangerLogEach = 10 * time.Minute
)

// strangers are the nodes of other arrays that knock here. With a controller that has
// lost its state directory they are all that shows whose it was.
type strangers struct {
	log *slog.Logger
	own raid.ArrayID

	mu     sync.Mutex
	seen   map[stranger]knock
	logged time.Time
}

type stranger struct {
	array raid.ArrayID
	mark  string // of the node, see identity.Mark
}

type knock struct {
	address string
	last    time.Time
}

func newStrangers(own raid.ArrayID, log *slog.Logger) *strangers {
	return &strangers{log: log, own: own, seen: map[stranger]knock{}}
}

// knock takes note of a node that says that it belongs to an array.
func (s *strangers) knock(array raid.ArrayID, mark string, from net.Addr) {
	if array == "" || array == s.own {
		return
	}
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	who := stranger{array, mark}
	if _, known := s.seen[who]; !known && len(s.seen) >= maxStrangers {
		s.forgetOne()
	}
	s.seen[who] = knock{host, now}
	if s.logged.IsZero() || now.Sub(s.logged) >= strangerLogEach {
		s.logged = now
		s.log.Warn("a node of another array knocks; it is not let in, and keeps what it has", "array", array, "address", host, "own_array", s.own)
	}
}

// greeted takes note of a node that has said its id in plaintext.
func (s *strangers) greeted(array raid.ArrayID, node raid.NodeID, from net.Addr) {
	s.knock(array, identity.Mark(array, node), from)
}

// forgetOne makes room. Callers hold mu.
func (s *strangers) forgetOne() {
	oldest := slices.MinFunc(slices.Collect(maps.Keys(s.seen)), func(a, b stranger) int { return s.seen[a].last.Compare(s.seen[b].last) })
	delete(s.seen, oldest)
}

// watch has nodes noticed that speak TLS. They say with their first message which array
// is theirs, and end the connection when they see our certificate.
func (s *strangers) watch(c *tls.Config) {
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if array, mark, ok := identity.ParseHello(hello.ServerName); ok {
			s.knock(array, mark, hello.Conn.RemoteAddr())
		}
		return nil, nil
	}
}

// there lists those that knock now, by array.
func (s *strangers) there() (all []httpapi.Stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byArray := map[raid.ArrayID]*httpapi.Stranger{}
	for who, k := range s.seen {
		if time.Since(k.last) > strangerRecent {
			continue
		}
		a := byArray[who.array]
		if a == nil {
			a = &httpapi.Stranger{Array: who.array}
			byArray[who.array] = a
		}
		a.Nodes++
		if !slices.Contains(a.Addresses, k.address) {
			a.Addresses = append(a.Addresses, k.address)
		}
	}
	for _, a := range byArray {
		slices.Sort(a.Addresses)
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b httpapi.Stranger) int {
		return cmp.Or(b.Nodes-a.Nodes, strings.Compare(string(a.Array), string(b.Array)))
	})
	return all
}

// strangersText says who knocks: "3 nodes of array A (10.0.0.2, 10.0.0.3)".
func strangersText(all []httpapi.Stranger) string {
	var texts []string
	for _, a := range all[:min(len(all), 3)] {
		nodes := "1 node"
		if a.Nodes > 1 {
			nodes = fmt.Sprintf("%d nodes", a.Nodes)
		}
		texts = append(texts, fmt.Sprintf("%s of array %s (%s)", nodes, a.Array, strings.Join(a.Addresses[:min(len(a.Addresses), 8)], ", ")))
	}
	return strings.Join(texts, "; ")
}

// forgotten returns an error when this array has no node and nodes of others knock. Most likely
// they are this controller's own, which has lost what it knew.
func (c *Controller) forgotten() error {
	there := c.strangers.there()
	if len(there) == 0 || len(c.members.Nodes()) > 0 {
		return nil
	}
	return fmt.Errorf("%w: no node has joined this new array %s, and %s knock. If they are this controller's, its state directory was lost: put your backup of it back "+
		"(/usr/share/doc/raid-controller/catalog.md, Backup), and they go on as they were. Only if what they hold is to be given up: sudo raid-node leave on each, then join with --adopt",
		raid.ErrTooFewNodes, c.catalog.Array(), strangersText(there))
}
