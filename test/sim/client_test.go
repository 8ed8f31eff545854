package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// patience bounds the time that a client waits for an answer.
const patience = 40 * time.Second

// client is a machine that uses the array by REST.
type client struct {
	w    *world
	name string
	http *http.Client
}

func newClient(w *world, name string) *client {
	return &client{w: w, name: name, http: &http.Client{Transport: &http.Transport{
		DialContext: w.net.dialer(name), DisableCompression: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 20 * time.Second,
	}}}
}

// answer is the result of a request.
type answer struct {
	status int // 0: none came
	body   []byte
	err    error
}

// ask sends a request and reads all of the answer.
func (c *client) ask(method, path string, body []byte) answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://controller:9000"+path, in)
	if err != nil {
		return answer{err: err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	req.Header.Set("Authorization", "Bearer "+c.w.boss.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{err: fmt.Errorf("%s, and then: %w", resp.Status, err)}
	}
	return answer{status: resp.StatusCode, body: b}
}

func pathOf(id int64) string { return fmt.Sprintf("/files/%d", id) }

func (c *client) create(f *file) {
	op := c.w.model.begin(c.name, opCreate, f)
	a := c.ask(http.MethodPost, "/files?filename="+f.name, f.content)
	var got struct{ ID int64 }
	switch {
	case a.status == http.StatusCreated && json.Unmarshal(a.body, &got) == nil && got.ID > 0:
		c.w.model.created(op, got.ID)
	case a.status >= 400 && a.status < 500:
		c.w.model.fault("POST of %s: %d %s", f.name, a.status, a.body)
	default:
		c.w.model.unknown(op, a)
	}
}

func (c *client) read(f *file, id int64) {
	op := c.w.model.begin(c.name, opRead, f)
	a := c.ask(http.MethodGet, pathOf(id), nil)
	switch a.status {
	case http.StatusOK:
		if !bytes.Equal(a.body, f.content) {
			c.w.model.fault("GET of %s (file %d): %d bytes that differ from the %d uploaded", f.name, id, len(a.body), len(f.content))
		}
		c.w.model.ended(op, present)
	case http.StatusNotFound:
		c.w.model.ended(op, absent)
	default:
		c.w.model.unknown(op, a)
	}
}

func (c *client) remove(f *file, id int64) {
	op := c.w.model.begin(c.name, opDelete, f)
	a := c.ask(http.MethodDelete, pathOf(id), nil)
	switch a.status {
	case http.StatusOK:
		c.w.model.ended(op, present)
	case http.StatusNotFound:
		c.w.model.ended(op, absent)
	default:
		c.w.model.unknown(op, a)
	}
}

// undelete puts a file back. What can't be put back any more tells nothing.
func (c *client) undelete(f *file, id int64) {
	op := c.w.model.begin(c.name, opUndelete, f)
	a := c.ask(http.MethodPost, pathOf(id)+"/undelete", nil)
	switch {
	case a.status >= 200 && a.status < 300:
		c.w.model.ended(op, present)
	case a.status >= 400 && a.status < 500:
		c.w.model.drop(op, a)
	default:
		c.w.model.unknown(op, a)
	}
}

// listed is a file as a list shows it.
type listed struct {
	ID       int64
	Filename string
	Size     int64
	Degraded bool
}

// list asks for all files; it tells of each file whether it is there.
func (c *client) list() ([]listed, answer) {
	ops := c.w.model.beginList(c.name)
	a := c.ask(http.MethodGet, "/files", nil)
	var got struct{ Files []listed }
	if a.status != http.StatusOK || json.Unmarshal(a.body, &got) != nil {
		return nil, a
	}
	c.w.model.endList(ops, got.Files)
	return got.Files, a
}

// status holds the parts of /status that are looked at.
type status struct {
	Health            string
	HealthText        string `json:"health_text"`
	Ready             bool
	DegradedFiles     int64  `json:"degraded_files"`
	FilesAtRisk       int64  `json:"files_at_risk"`
	FilesUnreadable   int64  `json:"files_unreadable"`
	RemovalsQueued    int64  `json:"removals_queued"`
	UnexplainedChunks *int64 `json:"unexplained_chunks"`
	Nodes             struct{ Up, Suspect, Down, Draining int }
}

func (c *client) status() (s status, ok bool) {
	a := c.ask(http.MethodGet, "/status", nil)
	return s, a.status == http.StatusOK && json.Unmarshal(a.body, &s) == nil
}
