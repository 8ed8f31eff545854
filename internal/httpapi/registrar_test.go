package httpapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// testRegistrar is a Registrar in memory: it knows the nodes n1 and n2 and notes what it is asked.
type testRegistrar struct {
	mu      sync.Mutex
	err     error // of everything
	joins   []raid.JoinRequest
	state   tls.ConnectionState // of the last call
	csr     []byte
	ordered raid.RemoveOrder

	changes []raid.NodeChange
}

func (d *testRegistrar) saw(cs tls.ConnectionState) error {
	d.state = cs
	return d.err
}

func (d *testRegistrar) Join(_ context.Context, cs tls.ConnectionState, req raid.JoinRequest) (raid.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.joins = append(d.joins, req)
	return certified(req.Node), d.saw(cs)
}

func (d *testRegistrar) Renew(_ context.Context, cs tls.ConnectionState, csr []byte) (raid.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.csr = csr
	return certified("n1"), d.saw(cs)
}

func (d *testRegistrar) Leave(_ context.Context, cs tls.ConnectionState, order raid.RemoveOrder) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ordered = order
	return d.saw(cs)
}

func (d *testRegistrar) Remove(_ context.Context, id raid.NodeID, order raid.RemoveOrder) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id != "n1" && id != "n2" {
		return fmt.Errorf("%w: there is no node %.40q", raid.ErrNotFound, id)
	}
	d.ordered = order
	return d.err
}

func (d *testRegistrar) RotateKey(id raid.NodeID) error {
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
func (d *testRegistrar) change(_ context.Context, id raid.NodeID, to raid.NodeChange) error {
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

// moves are Relocations that know n1 alone; n2 has no room elsewhere.
type moves struct {
	mu   sync.Mutex
	done []string
}

func (m *moves) note(what string, id raid.NodeID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch id {
	case "n1":
		m.done = append(m.done, what)
		return nil
	case "n2":
		return fmt.Errorf("%w: n2 holds 40 GiB: add a node, or free 9.0 GiB", raid.ErrPrecondition)
	}
	return fmt.Errorf("%w: there is no node %.40q", raid.ErrNotFound, id)
}

func (m *moves) Drain(_ context.Context, id raid.NodeID) error   { return m.note("drain", id) }
func (m *moves) Undrain(_ context.Context, id raid.NodeID) error { return m.note("undrain", id) }

func (m *moves) Replace(_ context.Context, id raid.NodeID, life time.Duration) (string, raid.JoinToken, error) {
	k := raid.JoinToken{ID: "ID000000", Uses: 1, Left: 1, Replaces: id, Expiry: life}
	return "RAID1-" + joinSecret, k, m.note("replace", id)
}

func TestNodesAreDrainedAndReplaced(t *testing.T) {
	m := &moves{}
	s := serve(t, newStore(), func(c *Config) { c.Relocations = m })
	for _, what := range []string{"drain", "undrain"} {
		if r := s.root("POST", "/nodes/n1/"+what, nil); r.StatusCode != 200 || string(r.body) != "{}\n" {
			t.Errorf("%s: %d %s", what, r.StatusCode, r.body)
		}
		s.wantError(s.root("POST", "/nodes/nobody/"+what, nil), 404)
		if r := s.root("POST", "/nodes/n2/"+what, nil); r.StatusCode != 409 || !strings.Contains(string(r.body), "add a node, or free 9.0 GiB") {
			t.Errorf("%s without room: %d %s", what, r.StatusCode, r.body)
		}
	}
	r := s.root("POST", "/nodes/n1/replace", strings.NewReader(`{"ttl_seconds": 600}`), isJSON)
	if r.StatusCode != 201 || !strings.Contains(string(r.body), `"replaces":"n1","expires_in_seconds":600`) || !strings.Contains(string(r.body), joinSecret) || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for body, want := range map[string]int{`{"ttl_seconds": -1}`: 400, `{"uses": 2}`: 400, ``: 400} {
		s.wantError(s.root("POST", "/nodes/n1/replace", strings.NewReader(body), isJSON), want)
	}
	s.wantError(s.root("POST", "/nodes/n2/replace", strings.NewReader(`{}`), isJSON), 409)
	if want := []string{"drain", "undrain", "replace"}; !slices.Equal(m.done, want) {
		t.Errorf("done: %v", m.done)
	}
}
