package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// RemoveNode takes a node out of the array for good. Unless forced, one that still has copies of
// files is kept. So is one with which files would be lost, unless the order says how many. An
// [*Error] tells.
func (c *Client) RemoveNode(ctx context.Context, id raid.NodeID, order raid.RemoveOrder) error {
	query := url.Values{}
	if order.Force {
		query.Set("force", "1")
	}
	if order.Lose > 0 {
		query.Set("lose", strconv.FormatInt(order.Lose, 10))
	}
	return c.deleteNamed(ctx, "/nodes/", string(id), query)
}

// NodeChange holds a person's decisions about a node; nil stays as it is.
type NodeChange struct {
	Zone   *string `json:"zone,omitempty"`
	Name   *string `json:"name,omitempty"`         // empty: the machine's own
	Accept *int64  `json:"accept_bytes,omitempty"` // of its disk
}

// ChangeNode changes what people decide about a node.
func (c *Client) ChangeNode(ctx context.Context, id raid.NodeID, to NodeChange) error {
	if err := checkElement(string(id)); err != nil {
		return err
	}
	return c.retry(ctx, nil, func() error { return c.send(ctx, http.MethodPatch, "/nodes/"+string(id), to, nil) })
}

// RotateNode makes a node draw a new key.
func (c *Client) RotateNode(ctx context.Context, id raid.NodeID) error {
	return c.order(ctx, id, "rotate")
}

// DrainNode has everything moved off a node. An [*Error] says what is missing when the
// others can't take it.
func (c *Client) DrainNode(ctx context.Context, id raid.NodeID) error {
	return c.order(ctx, id, "drain")
}

// UndrainNode lets a node take copies again. It ends a drain, and a replacement.
func (c *Client) UndrainNode(ctx context.Context, id raid.NodeID) error {
	return c.order(ctx, id, "undrain")
}

// ReplaceNode makes a token for the node that takes the place of another one.
func (c *Client) ReplaceNode(ctx context.Context, id raid.NodeID, ttl time.Duration) (t JoinToken, err error) {
	if err := checkElement(string(id)); err != nil {
		return t, err
	}
	wish := struct {
		TTLSeconds int64 `json:"ttl_seconds"`
	}{int64(ttl / time.Second)}
	err = c.post(ctx, "/nodes/"+string(id)+"/replace", wish, &t)
	return t, err
}

// order has something done with a node that may be said twice.
func (c *Client) order(ctx context.Context, id raid.NodeID, what string) error {
	if err := checkElement(string(id)); err != nil {
		return err
	}
	return c.retry(ctx, nil, func() error { return c.send(ctx, http.MethodPost, "/nodes/"+string(id)+"/"+what, nil, nil) })
}

// ErrUnproved: what came over an unencrypted connection may be anybody's.
var ErrUnproved = errors.New("what comes over plain HTTP from another machine proves nothing")

// CA is the certificate of the array's CA, in PEM, and its pin. It comes over
// connections alone that prove that it is the array's.
func (c *Client) CA(ctx context.Context) (text []byte, pin identity.Pin, err error) {
	if c.url.Scheme == "http" && !address.IsLoopback(c.url.Hostname()) {
		return nil, pin, fmt.Errorf("read the certificate of %s: %w", c.name, ErrUnproved)
	}
	err = c.retry(ctx, nil, func() error {
		return c.exchange(ctx, http.MethodGet, "/ca.pem", nil, func(body io.Reader) error {
			text, err = io.ReadAll(io.LimitReader(body, maxRefusal))
			return err
		})
	})
	if err != nil {
		return nil, pin, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, pin, fmt.Errorf("what came is not one certificate: %w", errNotOurs)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, pin, notOurs(err)
	}
	pin = identity.PinOf(cert)
	if c.pin != nil && *c.pin != pin {
		return nil, pin, fmt.Errorf("what came is another certificate than the connection's: %w", errNotOurs)
	}
	// As it was read, so that nothing else is passed on to curl.
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), pin, nil
}

// deleteNamed deletes what has an id.
func (c *Client) deleteNamed(ctx context.Context, folder, id string, query url.Values) error {
	if err := checkElement(id); err != nil {
		return err
	}
	return c.delete(ctx, folder+id, query)
}

// checkElement keeps an id from becoming another path. All ids of ours, and
// addresses, fit.
func checkElement(id string) error {
	strange := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.:[]%", r))
	}
	if strings.Trim(id, ".") == "" || strings.ContainsFunc(id, strange) {
		return fmt.Errorf("%w: %.80q is no id", raid.ErrInvalid, id)
	}
	return nil
}

// send does one call with JSON in both directions; nil: none.
func (c *Client) send(ctx context.Context, method, path string, wish, answer any) error {
	w := newWatch(ctx, c.stall)
	defer w.stop()
	req, err := c.request(w, method, path, nil)
	if err != nil {
		return err
	}
	if wish != nil {
		text, err := json.Marshal(wish)
		if err != nil {
			return err
		}
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(req, w)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(w.reader(resp.Body), maxRefusal))
	if err != nil {
		return c.explain(err, w)
	}
	if answer == nil {
		return nil
	}
	if err := notOurs(json.Unmarshal(text, answer)); err != nil {
		return err
	}
	return nil
}
