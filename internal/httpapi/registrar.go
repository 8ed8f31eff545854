package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// Registrar decides who is a node of the array. It must wait for nothing that a
// stranger could hold back. raid.ErrPrecondition becomes 409 here.
type Registrar interface {
	// Join lets a node in that shows a token's proof for this very connection. Its
	// errors are raid.ErrUnauthorized when the token or the proof is no good,
	// raid.ErrForbidden, raid.ErrPrecondition, raid.ErrUpgrade, raid.ErrInvalid.
	Join(ctx context.Context, cs tls.ConnectionState, req raid.JoinRequest) (raid.Certificate, error)
	// Renew certifies a new key of the node at the other end; raid.ErrGone when it
	// was removed.
	Renew(ctx context.Context, cs tls.ConnectionState, csr []byte) (raid.Certificate, error)
	// Leave removes the node at the other end. Not forced it is raid.ErrPrecondition
	// while it has copies. It is a raid.LossError, forced or not, when the order does
	// not say how many files are lost. It is raid.ErrGone when it was removed.
	Leave(ctx context.Context, cs tls.ConnectionState, order raid.RemoveOrder) error
	// Remove removes a node for good, as Leave does; raid.ErrNotFound.
	Remove(ctx context.Context, id raid.NodeID, order raid.RemoveOrder) error
	// RotateKey makes a node ask for a new key soon; raid.ErrNotFound.
	RotateKey(id raid.NodeID) error
}

// maxJoin is the greatest length of the body of what nodes call, in bytes.
const maxJoin = 16 << 10

// checkJoin refuses what no node of ours says. The rest is the registrar's to judge.
func checkJoin(c *raid.JoinRequest) error {
	switch {
	case c.Protocol < 1:
		return httpserver.BadRequest("protocol is missing: this is for raid-node join")
	case !shortText(c.Version, 64) || !shortText(c.Token, 64) || !shortText(string(c.Node), 64) || c.Token == "" || c.Node == "":
		return httpserver.BadRequest("version, token or node is not as raid-node writes it")
	case !shortText(c.Name, 255):
		return httpserver.BadRequest("the machine's name is longer than 255 bytes, or has characters that can't be shown")
	}
	return nil
}

// shortText takes what can stand in one line of a log.
func shortText(s string, most int) bool {
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) })
}

// join serves POST /v1/nodes/join. A later node may say more than is known here;
// it is the registrar that tells it so, by the protocol's number.
func (a *API) join(x *exchange) error {
	if x.Request.TLS == nil {
		return httpserver.Errorf(http.StatusForbidden, "nodes join over TLS alone: the proof is of one TLS connection. Use https://")
	}
	var call raid.JoinRequest
	if err := readCall(x, &call, false); err != nil {
		return err
	}
	if err := checkJoin(&call); err != nil {
		return err
	}
	call.Remote = x.Request.RemoteAddr
	c, err := a.cfg.Registrar.Join(x.Context(), *x.Request.TLS, call)
	if err != nil {
		return a.refuseJoin(x, &call, err)
	}
	httpserver.MarkAuthorized(x.Request)
	return x.SendJSON(http.StatusOK, c)
}

// refuseJoin counts failures that could be guesses. A good token is let in even
// from an address that others misuse.
func (a *API) refuseJoin(x *exchange, call *raid.JoinRequest, err error) error {
	if errors.Is(err, raid.ErrUnauthorized) {
		if limited := a.countFailure(x.Request, "Join token refused", err.Error()); limited != nil {
			return limited
		}
	} else if status, _ := statusOf(err); status < 500 { // fail logs others
		if times := a.mentions.LogOncePerMinute(httpserver.RemoteAddr(x.Request)); times > 0 {
			a.log.Info("Join refused", "node", string(call.Node), "name", call.Name, "remote", x.Request.RemoteAddr, "reason", httpserver.Clip(err.Error()), "times", times)
		}
	}
	return toNode(err)
}

// toNode makes of an error what a node is told of the registrar.
func toNode(err error) error {
	f := &httpserver.Error{Message: err.Error(), Cause: err}
	switch {
	case errors.Is(err, raid.ErrGone): // whatever else it is
		return err
	case errors.Is(err, raid.ErrUnauthorized):
		f.Status, f.Header = http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Raid-Join realm="raidpi"`}}
	case errors.Is(err, raid.ErrUpgrade):
		f.Status, f.Header = http.StatusUpgradeRequired, http.Header{"Upgrade": {"raidpi-node/1"}, "Connection": {"Upgrade"}}
	default:
		return conflict(err)
	}
	return f
}

// byNode refuses whoever shows no certificate of a node; which one it is, the
// registrar finds out.
func byNode(x *exchange) error {
	if x.Request.TLS == nil || len(x.Request.TLS.PeerCertificates) == 0 {
		return httpserver.Errorf(http.StatusForbidden, "this is for nodes that have joined: they come over TLS and show their certificate")
	}
	return nil
}

// renew serves POST /v1/nodes/renew.
func (a *API) renew(x *exchange) error {
	if err := byNode(x); err != nil {
		return err
	}
	var call struct {
		CSR []byte `json:"csr"`
	}
	if err := readCall(x, &call, true); err != nil {
		return err
	}
	c, err := a.cfg.Registrar.Renew(x.Context(), *x.Request.TLS, call.CSR)
	if err != nil {
		return toNode(err)
	}
	httpserver.MarkAuthorized(x.Request)
	a.log.Info("Node key certified", "node", c.Node, "remote", x.Request.RemoteAddr)
	return x.SendJSON(http.StatusOK, c)
}

// leave serves POST /v1/nodes/leave.
func (a *API) leave(x *exchange) error {
	if err := byNode(x); err != nil {
		return err
	}
	var order raid.RemoveOrder
	if err := readCall(x, &order, true); err != nil {
		return err
	}
	if err := a.cfg.Registrar.Leave(x.Context(), *x.Request.TLS, order); err != nil {
		return toNode(err)
	}
	httpserver.MarkAuthorized(x.Request)
	return x.SendJSON(http.StatusOK, struct{}{})
}

// readCall reads what a node sends. TLS and the proof or the certificate say who
// it is, so no content type needs to keep browsers out.
func readCall(x *exchange, v any, strictly bool) error {
	text, err := x.ReadSmall(maxJoin)
	if err != nil {
		return err
	}
	if err := httpserver.DecodeJSON(text, v, strictly); err != nil {
		return httpserver.BadRequest("not the JSON that raid-node sends here: %v", err)
	}
	return nil
}

// removeNode serves DELETE /nodes/{id}.
func (a *API) removeNode(x *exchange) error {
	q, err := httpserver.ParseParams(x.Request)
	if err != nil {
		return err
	}
	force, err := q.Number("force", 0, 1)
	if err != nil {
		return err
	}
	lose, err := q.Number("lose", 0, math.MaxInt64)
	if err != nil {
		return err
	}
	if err := a.cfg.Registrar.Remove(x.Context(), raid.NodeID(x.id), raid.RemoveOrder{Force: force == 1, Lose: lose}); err != nil {
		return conflict(err)
	}
	return x.SendNothing()
}

// ChangeNode changes what people decide about a node, durably. Its errors are
// raid.ErrInvalid and raid.ErrNotFound.
type ChangeNode func(ctx context.Context, id raid.NodeID, to raid.NodeChange) error

// changeNode serves PATCH /nodes/{id}.
func (a *API) changeNode(x *exchange) error {
	var wish struct {
		Zone *string `json:"zone"`
		Name *string `json:"name"`
		Disk *int64  `json:"accept_bytes"`
	}
	const example = `{"zone": "attic", "name": "pi-3", "accept_bytes": 256000000000}`
	if err := x.ReadJSON(maxWish, &wish, example); err != nil {
		return err
	}
	if wish.Zone == nil && wish.Name == nil && wish.Disk == nil {
		return httpserver.BadRequest("nothing is to be changed: send some of %s", example)
	}
	if err := a.cfg.Change(x.Context(), raid.NodeID(x.id), raid.NodeChange{Zone: wish.Zone, Name: wish.Name, Disk: wish.Disk}); err != nil {
		return conflict(err)
	}
	return x.SendJSON(http.StatusOK, struct{}{})
}

// Relocations have the copies on nodes moved to others.
type Relocations interface {
	// Drain has everything moved off a node; raid.ErrNotFound, raid.ErrPrecondition when
	// the others can't take it.
	Drain(ctx context.Context, id raid.NodeID) error
	// Undrain ends that, and a replacement; raid.ErrNotFound.
	Undrain(ctx context.Context, id raid.NodeID) error
	// Replace makes a token for the node that takes the place of another one, good for so
	// long; raid.ErrNotFound, raid.ErrInvalid, raid.ErrPrecondition.
	Replace(ctx context.Context, id raid.NodeID, life time.Duration) (text string, k raid.JoinToken, err error)
}

// drainNode serves POST /nodes/{id}/drain.
func (a *API) drainNode(x *exchange) error {
	if err := a.cfg.Relocations.Drain(x.Context(), raid.NodeID(x.id)); err != nil {
		return conflict(err)
	}
	return x.SendJSON(http.StatusOK, struct{}{})
}

// undrainNode serves POST /nodes/{id}/undrain.
func (a *API) undrainNode(x *exchange) error {
	if err := a.cfg.Relocations.Undrain(x.Context(), raid.NodeID(x.id)); err != nil {
		return conflict(err)
	}
	return x.SendJSON(http.StatusOK, struct{}{})
}

// replaceNode serves POST /nodes/{id}/replace.
func (a *API) replaceNode(x *exchange) error {
	wish := struct {
		TTLSeconds int64 `json:"ttl_seconds"`
	}{int64(defaultLife / time.Second)}
	if err := x.ReadJSON(maxWish, &wish, `{"ttl_seconds": 1800}`); err != nil {
		return err
	}
	if wish.TTLSeconds < 0 || wish.TTLSeconds > maxTTL {
		return httpserver.BadRequest("ttl_seconds is out of range")
	}
	text, k, err := a.cfg.Relocations.Replace(x.Context(), raid.NodeID(x.id), time.Duration(wish.TTLSeconds)*time.Second)
	if err != nil {
		return conflict(err)
	}
	a.tellJoinToken(x, k)
	return x.SendJSON(http.StatusCreated, a.joinTokenMade(text, k))
}

// rotateNode serves POST /nodes/{id}/rotate.
func (a *API) rotateNode(x *exchange) error {
	if err := a.cfg.Registrar.RotateKey(raid.NodeID(x.id)); err != nil {
		return conflict(err)
	}
	return x.SendJSON(http.StatusOK, struct{}{})
}
