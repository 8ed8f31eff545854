package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// memStore is a store in memory that keeps the promises of MemberStore.
type memStore struct {
	last raid.TokenUse // that let somebody in

	mu      sync.Mutex
	members map[raid.NodeID]raid.Member
	issued  map[raid.NodeID]time.Time
	nodes   map[raid.NodeID]bool // that never joined
	zones   map[raid.NodeID]string
	uses    map[string][]string // names by token
	rests   map[raid.NodeID]raid.Leaving
	other   map[raid.NodeID]raid.NodeID // where the second copies of what would be lost are
	writes  int
	fail    error             // of every write; the write is not done
	half    error             // of RemoveNode, after its durable mark
	before  func(what string) // called at the beginning of every write, without mu
}

func newMemStore() *memStore {
	return &memStore{
		members: map[raid.NodeID]raid.Member{}, issued: map[raid.NodeID]time.Time{}, nodes: map[raid.NodeID]bool{}, zones: map[raid.NodeID]string{},
		uses: map[string][]string{}, rests: map[raid.NodeID]raid.Leaving{}, other: map[raid.NodeID]raid.NodeID{},
	}
}

// begin is the start of a write. The caller unlocks mu if there is no error.
func (b *memStore) begin(ctx context.Context, what string) error {
	if b.before != nil {
		b.before(what)
	}
	b.mu.Lock()
	if err := ctx.Err(); err != nil {
		b.mu.Unlock()
		return err
	}
	if b.fail != nil {
		defer b.mu.Unlock()
		return b.fail
	}
	b.writes++
	return nil
}

func (b *memStore) Members(context.Context) (all []raid.Member, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.members {
		all = append(all, m)
	}
	return all, nil
}

func (b *memStore) Join(ctx context.Context, m raid.Member, use raid.TokenUse) (raid.Member, error) {
	return b.enter(ctx, m, use, false)
}

func (b *memStore) Rekey(ctx context.Context, m raid.Member, use raid.TokenUse) (raid.Member, error) {
	return b.enter(ctx, m, use, true)
}

func (b *memStore) enter(ctx context.Context, m raid.Member, use raid.TokenUse, rekey bool) (raid.Member, error) {
	if err := b.begin(ctx, "join"); err != nil {
		return raid.Member{}, err
	}
	defer b.mu.Unlock()
	old, known := b.members[m.ID]
	switch {
	case old.Removed:
		return raid.Member{}, fmt.Errorf("join: %w", raid.ErrForbidden)
	case known && (old.Key == m.Key || old.Next == m.Key):
		return old, nil
	case known && !rekey:
		return raid.Member{}, fmt.Errorf("join: %w", raid.ErrPrecondition)
	case len(b.uses[use.Token]) >= use.Uses:
		return raid.Member{}, fmt.Errorf("join: %w: used by %s", raid.ErrUnauthorized, strings.Join(b.uses[use.Token], ", "))
	}
	b.uses[use.Token], b.last = append(b.uses[use.Token], m.Name), use
	if m.Named = old.Named; m.Named {
		m.Name = old.Name
	}
	if use.Zone != "" {
		b.zones[m.ID] = use.Zone
	}
	b.members[m.ID], b.issued[m.ID] = m, time.Now()
	return m, nil
}

func (b *memStore) Certify(ctx context.Context, id raid.NodeID, next raid.KeyPin) (raid.Member, error) {
	if err := b.begin(ctx, "certify"); err != nil {
		return raid.Member{}, err
	}
	defer b.mu.Unlock()
	m := b.members[id]
	m.Next = next
	b.members[id], b.issued[id] = m, time.Now()
	return m, nil
}

func (b *memStore) Promote(ctx context.Context, id raid.NodeID, key raid.KeyPin) error {
	if err := b.begin(ctx, "promote"); err != nil {
		return err
	}
	defer b.mu.Unlock()
	switch m := b.members[id]; key {
	case m.Key:
	case m.Next:
		m.Key, m.Next = key, raid.KeyPin{}
		b.members[id] = m
	default:
		return fmt.Errorf("promote: %w", raid.ErrPrecondition)
	}
	return nil
}

func (b *memStore) RemoveNode(ctx context.Context, id raid.NodeID, there func(raid.NodeID) bool, may func(raid.Leaving) error) error {
	if err := b.begin(ctx, "remove"); err != nil {
		return err
	}
	defer b.mu.Unlock()
	m, known := b.members[id]
	if !known && !b.nodes[id] {
		return fmt.Errorf("remove: %w", raid.ErrNotFound)
	}
	if m.Removed {
		return nil
	}
	l := b.rests[id]
	if other := b.other[id]; other != "" && there(other) {
		l.Lost = 0
	}
	if err := may(l); err != nil {
		return err
	}
	m.ID, m.Removed = id, true
	b.members[id] = m
	return b.half
}

func (b *memStore) ChangeNode(ctx context.Context, id raid.NodeID, to raid.NodeChange) (raid.Member, error) {
	if err := b.begin(ctx, "change"); err != nil {
		return raid.Member{}, err
	}
	defer b.mu.Unlock()
	m, known := b.members[id]
	if !known && !b.nodes[id] || m.Removed {
		return raid.Member{}, fmt.Errorf("change: %w", raid.ErrNotFound)
	}
	m.ID = id
	if to.Name != nil {
		if m.Named = *to.Name != ""; m.Named {
			m.Name = *to.Name
		}
	}
	if to.HostName != nil && !m.Named {
		m.Name = *to.HostName
	}
	if to.Zone != nil {
		b.zones[id] = *to.Zone
	}
	if known {
		b.members[id] = m
	}
	return m, nil
}

func (b *memStore) KeyAge(m raid.Member) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.issued[m.ID])
}

func (b *memStore) member(id raid.NodeID) raid.Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.members[id]
}

func (b *memStore) usedBy(token string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.uses[token])
}

func (b *memStore) written() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes
}

func (b *memStore) failWith(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}
