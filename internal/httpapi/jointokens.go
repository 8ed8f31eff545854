package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// JoinTokens keeps the tokens that let nodes in.
type JoinTokens interface {
	// CreateToken makes one for so many nodes and so long, or to let one node in
	// again. It puts them into zone, if that is not empty. text is what the node shows, with its secret. Its errors are
	// raid.ErrInvalid and, when there are too many, raid.ErrPrecondition.
	CreateToken(uses int, life time.Duration, node raid.NodeID, zone string) (text string, k raid.JoinToken, err error)
	// Tokens are all of them, the oldest first.
	Tokens() []raid.JoinToken
	// RevokeToken takes one back; raid.ErrNotFound.
	RevokeToken(id string) error
}

// Of a join token that is asked for without saying more.
const (
	defaultUses = 1
	defaultLife = 30 * time.Minute
)

// joinToken is a raid.JoinToken in answers.
type joinToken struct {
	ID   string      `json:"id"`
	Uses int         `json:"uses"`
	Left int         `json:"left"`
	Node raid.NodeID `json:"node"`
	Zone string      `json:"zone"`
	// Replaces is the node whose place the one takes that it lets in; empty: none's.
	Replaces raid.NodeID `json:"replaces"`
	Expires  int64       `json:"expires_in_seconds"` // not positive: it is over
	UsedBy   []string    `json:"used_by"`
}

// newJoinToken is the answer that makes a token: the only one with its secret,
// and with where the node finds this controller.
type newJoinToken struct {
	joinToken
	Token string   `json:"token"`
	Hosts []string `json:"hosts"`
	Port  int      `json:"port"`
}

func toJoinToken(k raid.JoinToken) joinToken {
	used := k.UsedBy
	if used == nil {
		used = []string{}
	}
	return joinToken{ID: k.ID, Uses: k.Uses, Left: k.Left, Node: k.Node, Zone: k.Zone, Replaces: k.Replaces, Expires: int64(k.Expiry / time.Second), UsedBy: used}
}

func (a *API) listJoinTokens(x *exchange) error {
	all := a.cfg.JoinTokens.Tokens()
	list := make([]joinToken, len(all))
	for i, k := range all {
		list[i] = toJoinToken(k)
	}
	return x.SendJSON(http.StatusOK, struct {
		Tokens []joinToken `json:"tokens"`
	}{list})
}

func (a *API) createJoinToken(x *exchange) error {
	wish := struct {
		Uses       int         `json:"uses"`
		TTLSeconds int64       `json:"ttl_seconds"`
		Node       raid.NodeID `json:"node"`
		Zone       string      `json:"zone"`
	}{defaultUses, int64(defaultLife / time.Second), "", ""}
	if err := x.ReadJSON(maxWish, &wish, `{"uses": 3, "ttl_seconds": 1800, "node": "", "zone": ""}`); err != nil {
		return err
	}
	if wish.TTLSeconds < 0 || wish.TTLSeconds > maxTTL {
		return httpserver.BadRequest("ttl_seconds is out of range")
	}
	text, k, err := a.cfg.JoinTokens.CreateToken(wish.Uses, time.Duration(wish.TTLSeconds)*time.Second, wish.Node, wish.Zone)
	if err != nil {
		return conflict(err)
	}
	a.tellJoinToken(x, k)
	return x.SendJSON(http.StatusCreated, a.joinTokenMade(text, k))
}

// tellJoinToken tells that somebody made a join token.
func (a *API) tellJoinToken(x *exchange, k raid.JoinToken) {
	nodes := "1 node"
	if k.Uses != 1 {
		nodes = fmt.Sprintf("%d nodes", k.Uses)
	}
	a.cfg.Tell(raid.Event{Kind: raid.TokenMade, Text: fmt.Sprintf("%s made the join token %s, which lets in %s", a.whoIs(x), k.ID, nodes),
		Advice: "if nobody of yours did: sudo raidctl token revoke " + k.ID})
}

func (a *API) joinTokenMade(text string, k raid.JoinToken) newJoinToken {
	made := newJoinToken{joinToken: toJoinToken(k), Token: text, Hosts: a.cfg.Hosts(), Port: a.cfg.Port()}
	if made.Hosts == nil {
		made.Hosts = []string{}
	}
	return made
}

func (a *API) revokeJoinToken(x *exchange) error {
	if err := a.cfg.JoinTokens.RevokeToken(x.id); err != nil {
		return err
	}
	a.cfg.Tell(raid.Event{Kind: raid.TokenRevoked, Text: fmt.Sprintf("%s revoked the join token %s", a.whoIs(x), httpserver.Clip(x.id))})
	return x.SendNothing()
}

// showCA serves GET /ca.pem. Everybody may have it: whom to trust, it says only to
// who compares its fingerprint with what the controller itself shows.
func (a *API) showCA(x *exchange) error {
	if len(a.cfg.CAPEM) == 0 {
		return httpserver.Errorf(http.StatusNotFound, "this controller has no CA")
	}
	h := x.Header()
	h.Set("Content-Type", "application/x-pem-file")
	h.Set("Cache-Control", "no-store")
	_, err := x.Write(a.cfg.CAPEM)
	return err
}
