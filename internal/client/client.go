package client

import (
	"context"
	"encoding/json"
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
	"github.com/raidpi/raidpi/internal/reason"
)

// Config says which controller, and how patient to be with it.
type Config struct {
	URL       string           // "https://host:9000", or less of it: see package address
	Socket    string           // path of a Unix socket to use instead; URL is then left empty
	Token     string           // shown with every request; never over plain HTTP to another machine, nor on the socket, where it is not needed
	Pin       *identity.Pin    // of the controller's CA; nil: https is verified by the machine's certificate authorities
	Now       func() time.Time // asked whether a pinned controller's certificate is over; nil: time.Now
	Stall     time.Duration    // a call that moves no byte for so long ends; 2 min unless set
	Attempts  int              // at a call that may be repeated; 3 unless set
	UserAgent string           // "raidctl/1.0"; may be empty
}

// Client speaks to one controller. It is safe for concurrent use.
type Client struct {
	url       *url.URL
	name      string // url, for people
	socket    string
	token     string
	pin       *identity.Pin
	now       func() time.Time
	http      *http.Client
	transport *http.Transport
	stall     time.Duration
	attempts  int
	agent     string
}

// New makes a client. Nothing is connected yet.
func New(cfg Config) (*Client, error) {
	if cfg.Socket != "" {
		if cfg.URL != "" || cfg.Pin != nil {
			return nil, errors.New("make a client: a socket needs neither URL nor pin")
		}
		cfg.URL, cfg.Token = socketURL, ""
	}
	at, err := address.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := checkSecrecy(at, cfg); err != nil {
		return nil, err
	}
	c := &Client{url: at.URL(), name: at.String(), socket: cfg.Socket, token: cfg.Token, pin: cfg.Pin, now: cfg.Now, stall: cfg.Stall, attempts: cfg.Attempts, agent: cfg.UserAgent}
	if cfg.Socket != "" {
		c.url.Host = "localhost"
	}
	c.transport = c.newTransport(cfg)
	c.http = &http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if c.now == nil {
		c.now = time.Now
	}
	if c.stall <= 0 {
		c.stall = 2 * time.Minute
	}
	if c.attempts <= 0 {
		c.attempts = 3
	}
	return c, nil
}

// URL is the controller's, without a slash at its end.
func (c *Client) URL() string { return c.name }

// where names the controller for people.
func (c *Client) where() string {
	if c.socket != "" {
		return c.socket
	}
	return c.name
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Info is a file's record, with the chunk names of all its stripes.
func (c *Client) Info(ctx context.Context, id raid.FileID) (f File, err error) {
	err = c.get(ctx, fmt.Sprintf("/files/%d/info", id), nil, &f)
	return f, err
}

// Status asks for the state of the array.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.get(ctx, "/status", nil, &s)
	return s, err
}

// Nodes are the array's nodes.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var answer struct {
		Nodes []Node `json:"nodes"`
	}
	err := c.get(ctx, "/nodes", nil, &answer)
	return answer.Nodes, err
}

// Node is one node, with what rests on it.
func (c *Client) Node(ctx context.Context, id raid.NodeID) (n NodeDetail, err error) {
	if err := checkElement(string(id)); err != nil {
		return n, err
	}
	err = c.get(ctx, "/nodes/"+string(id), nil, &n)
	return n, err
}

// Unplug asks whether a node may be taken off now.
func (c *Client) Unplug(ctx context.Context, id raid.NodeID) (u Unplug, err error) {
	if err := checkElement(string(id)); err != nil {
		return u, err
	}
	err = c.get(ctx, "/nodes/"+string(id)+"/unplug", nil, &u)
	return u, err
}

// Delete removes a file, which can be put back for a while. When an earlier attempt of the same call may
// have arrived, the file's absence is success.
func (c *Client) Delete(ctx context.Context, id raid.FileID) error {
	return c.delete(ctx, fmt.Sprintf("/files/%d", id), nil)
}

func (c *Client) delete(ctx context.Context, path string, query url.Values) error {
	arrived := false
	return c.retry(ctx, nil, func() error {
		err := c.exchange(ctx, http.MethodDelete, path, query, func(io.Reader) error { return nil })
		if arrived && StatusOf(err) == http.StatusNotFound {
			return nil
		}
		var none *UnreachableError
		arrived = arrived || StatusOf(err) == 0 && !errors.As(err, &none)
		return err
	})
}

// maxAnswer bounds an answer that is read whole, in bytes: the chunk names of a
// file of a million stripes.
const maxAnswer = 256 << 20

// get reads a JSON answer.
func (c *Client) get(ctx context.Context, path string, query url.Values, answer any) error {
	return c.retry(ctx, nil, func() error {
		return c.exchange(ctx, http.MethodGet, path, query, func(body io.Reader) error {
			text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
			if err != nil {
				return err
			}
			return notOurs(json.Unmarshal(text, answer)) // whole or not at all: another attempt must not find half an answer
		})
	})
}

// notOurs explains a JSON answer that makes no sense.
func notOurs(err error) error {
	if err == nil {
		return nil
	}
	return reason.Worded(errNotOurs.Error(), errors.Join(errNotOurs, err))
}

var errNotOurs = errors.New("the answer is not raid-controller's; is that its address?")

// exchange does one call without a body and hands the answer's body to read.
func (c *Client) exchange(ctx context.Context, method, path string, query url.Values, read func(io.Reader) error) error {
	w := newWatch(ctx, c.stall)
	defer w.stop()
	req, err := c.request(w, method, path, query)
	if err != nil {
		return err
	}
	resp, err := c.do(req, w)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := read(w.reader(resp.Body)); err != nil {
		return c.explain(err, w)
	}
	return nil
}

// request makes a request under a watch.
func (c *Client) request(w *watch, method, path string, query url.Values) (*http.Request, error) {
	u := *c.url
	u.Path += path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(w.ctx, method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", c.name, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	return req, nil
}

// do sends a request. A status that is not 2xx becomes an [*Error].
func (c *Client) do(req *http.Request, w *watch) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err, w)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refusal(req, resp, w)
}

// maxRefusal bounds the part of an error's body that is read, in bytes.
const maxRefusal = 16 << 10

func (c *Client) refusal(req *http.Request, resp *http.Response, w *watch) *Error {
	e := &Error{Call: callOf(req), Status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	text, _ := io.ReadAll(io.LimitReader(w.reader(resp.Body), maxRefusal)) // what can be read of an error is enough
	var problem struct {
		Message string `json:"message"`
		Lose    int64  `json:"lose"`
	}
	switch {
	case json.Unmarshal(text, &problem) == nil && problem.Message != "":
		e.Message, e.Lose = problem.Message, problem.Lose
	case resp.StatusCode < 400 && resp.Header.Get("Location") != "":
		e.Message = "the answer points to " + resp.Header.Get("Location") + ", which is not followed; use that address if it is right"
	default:
		e.Message = "an answer that is not raid-controller's"
	}
	if c.token != "" {
		e.Message = strings.ReplaceAll(e.Message, c.token, "(the token)") // whoever sent it back
	}
	return e
}

func callOf(req *http.Request) string { return req.Method + " " + req.URL.Path }

// unwrapURL takes the method and URL off that net/http puts before its errors;
// ours name the call already.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
