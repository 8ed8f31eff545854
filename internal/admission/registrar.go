package admission

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/allowance"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// keyLife is after how long a node is asked for a new key, unless configured.
const keyLife = 90 * 24 * time.Hour

// Members tells who is a member, and with which key. All of it is durable when it
// returns.
type Members interface {
	// Members are all that ever joined, with those that were removed.
	Members(ctx context.Context) ([]raid.Member, error)
	// Join spends a use of a token and records a member, both or neither. It fails
	// with raid.ErrUnauthorized when no use is left.
	Join(ctx context.Context, m raid.Member, use raid.TokenUse) (raid.Member, error)
	// Rekey does the same, also for a member that has another key.
	Rekey(ctx context.Context, m raid.Member, use raid.TokenUse) (raid.Member, error)
	// Certify records the next key of a member, and when that was.
	Certify(ctx context.Context, id raid.NodeID, next raid.KeyPin) (raid.Member, error)
	// Promote makes the next key the key; that it is already is no error.
	Promote(ctx context.Context, id raid.NodeID, key raid.KeyPin) error
}

// Nodes has what else is known of nodes.
type Nodes interface {
	// RemoveNode ends a node for good, also one that never joined. may is told, in the
	// same transaction, what rests on it when only the copies on other nodes that are
	// there are counted on. Its error keeps the node. Both must not wait.
	RemoveNode(ctx context.Context, id raid.NodeID, there func(raid.NodeID) bool, may func(raid.Leaving) error) error
	// ChangeNode changes what people decide about a node, as raid.NodeChange says.
	ChangeNode(ctx context.Context, id raid.NodeID, to raid.NodeChange) (raid.Member, error)
	// KeyAge is the age of a member's key. It must not wait.
	KeyAge(m raid.Member) time.Duration
}

// MemberStore is where it is written.
type MemberStore interface {
	Members
	Nodes
}

// Config configures a Registrar.
type Config struct {
	CA    *identity.CA
	Store MemberStore
	// Live reports whether a node is connected; Cut ends its connections; Counts
	// tells how many nodes are up and how many there are, without one. Nil: none ever is.
	Live   func(raid.NodeID) bool
	Cut    func(id raid.NodeID, why error)
	Counts func(but raid.NodeID) (up, known int)
	// Nodes lists the nodes as they are now. Nil: none is there.
	Nodes func() []raid.NodeInfo
	// Ports are where nodes find the controller: store, response, request.
	Ports                    [3]int
	MinProtocol, MaxProtocol int           // of the wire, that are spoken here
	Version                  string        // of this program, for people
	KeyLife                  time.Duration // after it a node is asked for a new key; 0: 90 days
	Tell                     raid.Tell     // is told who joins and goes; nil: nobody is
	Log                      *slog.Logger
	Random                   io.Reader // fit for secrets: crypto/rand.Reader
}

// Registrar lets nodes in and out. Its methods may be called at once from several
// goroutines.
type Registrar struct {
	cfg  Config
	busy chan struct{} // holds the one who changes the store
	wake chan struct{} // tells Run that something waits

	renewals *allowance.Limiter

	mu      sync.Mutex
	members map[raid.NodeID]raid.Member
	asked   map[raid.NodeID]bool        // are to get a new key, whatever the age of theirs
	lost    map[raid.NodeID]bool        // came with their key after the next one was certified
	seen    map[raid.NodeID]raid.KeyPin // next keys that were seen; Run writes it
	tokens  map[string]*token
}

// New makes a registrar, which refuses everybody until Load.
func New(cfg Config) *Registrar {
	if cfg.KeyLife == 0 {
		cfg.KeyLife = keyLife
	}
	if cfg.Tell == nil {
		cfg.Tell = func(raid.Event) {}
	}
	if cfg.Live == nil {
		cfg.Live = func(raid.NodeID) bool { return false }
	}
	if cfg.Cut == nil {
		cfg.Cut = func(raid.NodeID, error) {}
	}
	if cfg.Nodes == nil {
		cfg.Nodes = func() []raid.NodeInfo { return nil }
	}
	if cfg.Counts == nil {
		cfg.Counts = func(raid.NodeID) (int, int) { return 0, 0 }
	}
	return &Registrar{
		cfg: cfg, busy: make(chan struct{}, 1), wake: make(chan struct{}, 1), renewals: allowance.NewLimiter(renewRate),
		members: make(map[raid.NodeID]raid.Member), asked: make(map[raid.NodeID]bool), lost: make(map[raid.NodeID]bool),
		seen: make(map[raid.NodeID]raid.KeyPin), tokens: make(map[string]*token),
	}
}

// Load reads from the store who is a member. It must come before everything else.
func (d *Registrar) Load(ctx context.Context) error {
	return d.change(ctx, func() error {
		all, err := d.cfg.Store.Members(ctx)
		if err != nil {
			return fmt.Errorf("read who is a member: %w", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, m := range all {
			d.members[m.ID] = m
		}
		return nil
	})
}

// change runs f while nobody else changes the store.
func (d *Registrar) change(ctx context.Context, f func() error) error {
	select {
	case d.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for another node that joins or leaves: %w", ctx.Err())
	}
	defer func() { <-d.busy }()
	return f()
}

// member holds what is known of a node.
func (d *Registrar) member(id raid.NodeID) (m raid.Member, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, known = d.members[id]
	return m, known
}

// remember follows the store, which has a new key for a member or no use for its keys any more.
// What was noted about them is over.
func (d *Registrar) remember(m raid.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members[m.ID] = m
	delete(d.asked, m.ID)
	delete(d.lost, m.ID)
	delete(d.seen, m.ID)
}

// IsMember reports whether a node has joined, and was not removed.
func (d *Registrar) IsMember(id raid.NodeID) bool {
	m, _ := d.member(id)
	return joined(m)
}

func joined(m raid.Member) bool { return !m.Removed && m.Key != raid.KeyPin{} }

// Name is the host name of a node that has joined, or "".
func (d *Registrar) Name(id raid.NodeID) string {
	m, _ := d.member(id)
	return m.Name
}

// called is the name that people know a node by.
func called(m raid.Member) string {
	if m.Name == "" {
		return string(m.ID)
	}
	return m.Name
}
