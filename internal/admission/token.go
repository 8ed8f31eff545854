package admission

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	maxUses   = 1000
	minTTL    = time.Minute
	maxTTL    = 7 * 24 * time.Hour
	maxTokens = 1000
	// keepOver is for how long a token is kept after its end, so that who tries it
	// is told when that was.
	keepOver = 24 * time.Hour
)

// token is a join token. Its fields never change, but for usedBy, under mu.
type token struct {
	identity.Token
	uses   int
	ttl    time.Duration
	node   raid.NodeID // the one that it is for, or ""
	zone   string      // that it puts nodes into, or ""
	old    raid.NodeID // whose place the node takes that it lets in, or ""
	made   time.Time   // monotonic
	usedBy []string
}

// left returns the time for which it is still good, negative when it is over.
func (t *token) left() time.Duration { return t.ttl - time.Since(t.made) }

func (t *token) isSpent() bool { return t.left() <= 0 || len(t.usedBy) >= t.uses }

func (t *token) info() raid.JoinToken {
	return raid.JoinToken{
		ID: t.ID(), Uses: t.uses, Left: max(t.uses-len(t.usedBy), 0), Node: t.node, Zone: t.zone, Replaces: t.old,
		Expiry: t.left(), UsedBy: slices.Clone(t.usedBy),
	}
}

// CreateToken makes a token for uses nodes (1 to 1000) that is good for ttl (a
// minute to 7 days). With node, it is for that node alone, which may then come
// with a new key. With zone, who joins by it is put there. It fails with raid.ErrInvalid; with raid.ErrForbidden when that
// node was removed; and with raid.ErrPrecondition when there are 1000 already.
func (d *Registrar) CreateToken(uses int, ttl time.Duration, node raid.NodeID, zone string) (identity.Token, raid.JoinToken, error) {
	if err := d.checkOrder(uses, ttl, node, zone); err != nil {
		return identity.Token{}, raid.JoinToken{}, err
	}
	return d.create(token{uses: uses, ttl: ttl, node: node, zone: zone})
}

// CreateReplacement makes a token for one new node, which takes the place of an old one,
// in the old one's zone. Tokens that were made for that before end. It fails as
// CreateToken does, and with raid.ErrNotFound.
func (d *Registrar) CreateReplacement(ttl time.Duration, old raid.NodeID) (identity.Token, raid.JoinToken, error) {
	if err := d.checkOrder(1, ttl, "", ""); err != nil {
		return identity.Token{}, raid.JoinToken{}, err
	}
	d.RevokeReplacements(old)
	return d.create(token{uses: 1, ttl: ttl, old: old})
}

// RevokeReplacements takes the tokens back by which a node would take the place of an old
// one.
func (d *Registrar) RevokeReplacements(old raid.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, t := range d.tokens {
		if old != "" && t.old == old {
			delete(d.tokens, id)
		}
	}
}

// create makes a token of these terms.
func (d *Registrar) create(terms token) (identity.Token, raid.JoinToken, error) {
	secret, err := identity.NewToken(d.cfg.CA.Pin(), d.cfg.Random)
	if err != nil {
		return identity.Token{}, raid.JoinToken{}, err
	}
	t := &terms
	t.Token, t.made = secret, time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.dropOldest(t.ID()); err != nil {
		return identity.Token{}, raid.JoinToken{}, err
	}
	d.tokens[t.ID()] = t
	d.cfg.Log.Info("join token made", "token", t.ID(), "uses", t.uses, "ttl", t.ttl, "node", t.node, "zone", t.zone, "replaces", t.old)
	return secret, t.info(), nil
}

func (d *Registrar) checkOrder(uses int, ttl time.Duration, node raid.NodeID, zone string) error {
	switch {
	case uses < 1 || uses > maxUses:
		return fmt.Errorf("make a join token: %w: it would have %d uses; 1 to %d are possible", raid.ErrInvalid, uses, maxUses)
	case ttl < minTTL || ttl > maxTTL:
		return fmt.Errorf("make a join token: %w: it would last %v; from a minute to %d days are possible", raid.ErrInvalid, ttl, maxTTL/(24*time.Hour))
	case !raid.ValidZone(zone):
		return fmt.Errorf("make a join token: %w: a zone's name has at most %d bytes, which can be shown", raid.ErrInvalid, raid.MaxZone)
	case node == "":
		return nil
	}
	if _, err := raid.DecodeID(string(node)); err != nil {
		return fmt.Errorf("make a join token: %w: %.40q is not a node's id", raid.ErrInvalid, node)
	}
	if m, _ := d.member(node); m.Removed {
		return fmt.Errorf("make a join token: %w: node %s was removed for good; there run sudo raid-node reset-identity, and make a token without --node", raid.ErrForbidden, node)
	}
	return nil
}

// dropOldest forgets tokens that are over for long, and the oldest that is over
// when there are too many. mu is held.
func (d *Registrar) dropOldest(id string) error {
	d.forget()
	if d.tokens[id] != nil {
		return fmt.Errorf("make a join token: %w: its id is taken, which chance does once in 10^12 times; try again", raid.ErrPrecondition)
	}
	if len(d.tokens) < maxTokens {
		return nil
	}
	for _, t := range d.byAge() {
		if t.isSpent() {
			delete(d.tokens, t.ID())
			return nil
		}
	}
	return fmt.Errorf("make a join token: %w: there are %d already; take some back with sudo raidctl token revoke", raid.ErrPrecondition, len(d.tokens))
}

// forget drops tokens that have been over for keepOver. mu is held.
func (d *Registrar) forget() {
	for id, t := range d.tokens {
		if t.left() < -keepOver {
			delete(d.tokens, id)
		}
	}
}

// byAge are the tokens, the oldest first. mu is held.
func (d *Registrar) byAge() []*token {
	all := make([]*token, 0, len(d.tokens))
	for _, t := range d.tokens {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *token) int {
		return cmp.Or(a.made.Compare(b.made), cmp.Compare(a.ID(), b.ID()))
	})
	return all
}

// Tokens are the tokens of this run of the controller, the oldest first. Those
// that are over are among them for a day.
func (d *Registrar) Tokens() []raid.JoinToken {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget()
	var all []raid.JoinToken
	for _, t := range d.byAge() {
		all = append(all, t.info())
	}
	return all
}

// RevokeToken takes a token back. Who comes with it afterwards is refused; a node
// that is being written down at that moment is in. It fails with raid.ErrNotFound.
func (d *Registrar) RevokeToken(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tokens[id] == nil {
		return fmt.Errorf("take a join token back: %w: there is none with the id %.40q", raid.ErrNotFound, id)
	}
	delete(d.tokens, id)
	d.cfg.Log.Info("join token taken back", "token", id)
	return nil
}

// prove finds the token that a request names and checks the proof. Whether it is
// over or for another node is told to those alone who know its secret.
func (d *Registrar) prove(cs tls.ConnectionState, req raid.JoinRequest) (*token, error) {
	d.mu.Lock()
	t := d.tokens[req.Token]
	d.mu.Unlock()
	if t == nil {
		return nil, unknownToken()
	}
	switch err := t.CheckProof(cs, req.CSR, req.Proof); {
	case errors.Is(err, identity.ErrProof):
		return nil, refuse(raid.ErrUnauthorized, "The proof for token %s does not fit: its secret is another one, or somebody is between node and controller. No use was spent. %s", t.ID(), anotherToken)
	case err != nil:
		return nil, fmt.Errorf("join: %w: %w", raid.ErrForbidden, err)
	case t.node != "" && t.node != req.Node:
		return nil, refuse(raid.ErrForbidden, "This token lets in node %s alone, and this is node %s. %s", t.node, req.Node, anotherToken)
	}
	return t, d.stillGood(t)
}

func unknownToken() error {
	return refuse(raid.ErrUnauthorized, "This token is not known: it ended when raid-controller was restarted, was taken back, or was made by another array. %s", anotherToken)
}

// stillGood fails for a token that was taken back or has expired.
func (d *Registrar) stillGood(t *token) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tokens[t.ID()] != t {
		return unknownToken()
	}
	if left := t.left(); left <= 0 {
		return refuse(raid.ErrUnauthorized, "This token expired %s. %s", ago(-left), anotherToken)
	}
	return nil
}

// users names those who used a token that has no use left.
func (d *Registrar) users(t *token) (names []string, spent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(t.usedBy), len(t.usedBy) >= t.uses
}

func (d *Registrar) use(t *token, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.usedBy = append(t.usedBy, name)
}
