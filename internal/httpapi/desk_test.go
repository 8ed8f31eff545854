package httpapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// desk is Desk in memory: it knows the nodes n1 and n2 and notes what it is asked.
type desk struct {
	mu      sync.Mutex
	err     error // of everything
	joins   []raid.JoinRequest
	state   tls.ConnectionState // of the last call
	csr     []byte
	ordered raid.RemoveOrder

	changes []raid.NodeChange
}

func (d *desk) saw(cs tls.ConnectionState) error {
	d.state = cs
	return d.err
}

func (d *desk) Join(_ context.Context, cs tls.ConnectionState, req raid.JoinRequest) (raid.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.joins = append(d.joins, req)
	return certified(req.Node), d.saw(cs)
}

func (d *desk) Renew(_ context.Context, cs tls.ConnectionState, csr []byte) (raid.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.csr = csr
	return certified("n1"), d.saw(cs)
}

func (d *desk) Leave(_ context.Context, cs tls.ConnectionState, order raid.RemoveOrder) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ordered = order
	return d.saw(cs)
}

func (d *desk) Remove(_ context.Context, id raid.NodeID, order raid.RemoveOrder) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id != "n1" && id != "n2" {
		return fmt.Errorf("%w: there is no node %.40q", raid.ErrNotFound, id)
	}
	d.ordered = order
	return d.err
}

func (d *desk) RotateKey(id raid.NodeID) error {
	return d.Remove(context.Background(), id, raid.RemoveOrder{})
}

func certified(id raid.NodeID) raid.Certificate {
	return raid.Certificate{Array: "array", Node: id, DER: []byte("der"), CA: []byte("ca"), StorePort: 1, ResponsePort: 2, RequestPort: 3, Up: 4, Known: 5}
}

// joinTokens is JoinTokens in memory.
type joinTokens struct {
	mu  sync.Mutex
	all []raid.JoinToken
	err error // of making one
}

const joinSecret = "SECRETSECRETSECRETSECRET00"

func (s *joinTokens) CreateToken(uses int, life time.Duration, node raid.NodeID, zone string) (string, raid.JoinToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "", raid.JoinToken{}, s.err
	}
	if uses < 1 || life < time.Minute {
		return "", raid.JoinToken{}, fmt.Errorf("%w: %d uses, %v", raid.ErrInvalid, uses, life)
	}
	k := raid.JoinToken{ID: fmt.Sprintf("ID%06d", len(s.all)), Uses: uses, Left: uses, Node: node, Zone: zone, Expiry: life}
	s.all = append(s.all, k)
	return "RAID1-PINPINPINPINPINPINPINPIN00-" + k.ID + "-" + joinSecret + "-CHEK", k, nil
}

func (s *joinTokens) Tokens() []raid.JoinToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *joinTokens) RevokeToken(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.all, func(k raid.JoinToken) bool { return k.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: there is no join token %.40q", raid.ErrNotFound, id)
	}
	s.all = slices.Delete(s.all, i, i+1)
	return nil
}

// change is a ChangeNode that knows n1 alone.
func (d *desk) change(_ context.Context, id raid.NodeID, to raid.NodeChange) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case id != "n1":
		return fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
	case to.Zone != nil && !raid.ValidZone(*to.Zone):
		return fmt.Errorf("%w: a zone", raid.ErrInvalid)
	}
	d.changes = append(d.changes, to)
	return nil
}
