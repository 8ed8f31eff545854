package client

import (
	"context"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// JoinToken lets nodes in.
type JoinToken struct {
	ID               string      `json:"id"`
	Token            string      `json:"token,omitempty"` // the whole text, in the answer that makes it alone
	Uses             int         `json:"uses"`            // allowed in all
	Left             int         `json:"left"`
	Node             raid.NodeID `json:"node"`               // the one that it lets in again; empty: any new one
	Zone             string      `json:"zone"`               // that it puts nodes into; empty: none
	Replaces         raid.NodeID `json:"replaces"`           // whose place the new one takes; empty: nobody's
	ExpiresInSeconds int64       `json:"expires_in_seconds"` // not positive: it is over
	UsedBy           []string    `json:"used_by"`            // host names

	// Where nodes find the controller, the likeliest first; in the answer that
	// makes the token alone.
	Hosts []string `json:"hosts,omitempty"`
	Port  int      `json:"port,omitempty"`
}

// AccessToken lets programs use the REST interface.
type AccessToken struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Scope   string  `json:"scope"`   // read, write or admin
	State   string  `json:"state"`   // active, expired or revoked
	Created string  `json:"created"` // UTC
	Expires *string `json:"expires"` // UTC; nil: never
	Token   string  `json:"token,omitempty"`
}

// JoinTokens are those that were made since the controller started.
func (c *Client) JoinTokens(ctx context.Context) ([]JoinToken, error) {
	var answer struct {
		Tokens []JoinToken `json:"tokens"`
	}
	err := c.get(ctx, "/join-tokens", nil, &answer)
	return answer.Tokens, err
}

// CreateJoinToken makes a token for so many nodes that ends after ttl, or for
// the one node that is named. It puts them into zone, if that is not empty. It is tried once, as every call that makes
// something.
func (c *Client) CreateJoinToken(ctx context.Context, uses int, ttl time.Duration, node raid.NodeID, zone string) (t JoinToken, err error) {
	wish := struct {
		Uses       int         `json:"uses"`
		TTLSeconds int64       `json:"ttl_seconds"`
		Node       raid.NodeID `json:"node"`
		Zone       string      `json:"zone,omitempty"` // which an older controller does not know
	}{uses, int64(ttl / time.Second), node, zone}
	err = c.post(ctx, "/join-tokens", wish, &t)
	return t, err
}

// RevokeJoinToken ends a token; nodes that used it stay.
func (c *Client) RevokeJoinToken(ctx context.Context, id string) error {
	return c.deleteNamed(ctx, "/join-tokens/", id, nil)
}

// AccessTokens are all that the controller remembers, the oldest first.
func (c *Client) AccessTokens(ctx context.Context) ([]AccessToken, error) {
	var answer struct {
		Tokens []AccessToken `json:"tokens"`
	}
	err := c.get(ctx, "/access-tokens", nil, &answer)
	return answer.Tokens, err
}

// CreateAccessToken makes a token that ends after ttl; 0: never.
func (c *Client) CreateAccessToken(ctx context.Context, name string, scope raid.Scope, ttl time.Duration) (t AccessToken, err error) {
	wish := struct {
		Name       string `json:"name"`
		Scope      string `json:"scope"`
		TTLSeconds int64  `json:"ttl_seconds"`
	}{name, scope.String(), int64(ttl / time.Second)}
	err = c.post(ctx, "/access-tokens", wish, &t)
	return t, err
}

// RevokeAccessToken ends a token for good.
func (c *Client) RevokeAccessToken(ctx context.Context, id string) error {
	return c.deleteNamed(ctx, "/access-tokens/", id, nil)
}

// post makes something. It is not repeated: a lost answer would make two.
func (c *Client) post(ctx context.Context, path string, wish, answer any) error {
	return c.send(ctx, http.MethodPost, path, wish, answer)
}
