package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// API speaks the array's REST interface. The zero HTTP is http.DefaultClient.
type API struct {
	URL  string // without a slash at the end
	HTTP *http.Client
}

// File is a file's record in GET /files and GET /files/{id}/info.
type File struct {
	ID          int64  `json:"id"`
	Filename    string `json:"filename"`
	Size        int64  `json:"size"`
	ContentType string `json:"content_type"`
	Created     string `json:"created"`
	Part1       Names  `json:"part1_filenames"`
	Part2       Names  `json:"part2_filenames"`
	Degraded    bool   `json:"degraded"`
}

// Names are chunk names. REST writes them as the assignment's table holds them,
// joined with commas; a JSON array is understood too.
type Names []string

// UnmarshalJSON reads "a,b" or ["a","b"].
func (n *Names) UnmarshalJSON(b []byte) error {
	var list []string
	if err := json.Unmarshal(b, &list); err == nil {
		*n = list
		return nil
	}
	var joined string
	if err := json.Unmarshal(b, &joined); err != nil {
		return fmt.Errorf("read chunk names: %w", err)
	}
	*n = nil
	if joined != "" {
		*n = strings.Split(joined, ",")
	}
	return nil
}

// Node is a row of GET /nodes.
type Node struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	State      string `json:"state"`
	Address    string `json:"address"`
	TotalBytes int64  `json:"total_bytes"`
	FreeBytes  int64  `json:"free_bytes"`
	Chunks     int64  `json:"chunks"`
	Draining   bool   `json:"draining"`
	Drain      string `json:"drain"` // what it waits for while it drains or is replaced
}

// StatusError is an answer with a status that was not hoped for.
type StatusError struct {
	Call    string // "POST /files"
	Status  int
	Message string // the answer's {"message": …}, or its text
}

// Error tells the call, the status and the array's own words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", e.Call, e.Status, e.Message)
}

// Status is the HTTP status in err, or 0 when there was no answer.
func Status(err error) int {
	var se *StatusError
	if errors.As(err, &se) {
		return se.Status
	}
	return 0
}

// Do sends a request and returns the answer when its status is want. The
// caller closes the body.
func (a *API) Do(req *http.Request, want int) (*http.Response, error) {
	hc := a.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == want {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what can be read of an error is enough
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &m) == nil && m.Message != "" {
		text = []byte(m.Message)
	}
	return nil, &StatusError{Call: req.Method + " " + req.URL.Path, Status: resp.StatusCode, Message: string(text)}
}

func (a *API) call(ctx context.Context, method, path string, want int, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.URL+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.Do(req, want)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if answer == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	return nil
}

// Created is the answer to an upload.
type Created struct {
	ID       int64 `json:"id"`
	Degraded bool  `json:"degraded"`
}

// Upload stores body under filename; size -1 sends it chunked.
func (a *API) Upload(ctx context.Context, filename string, body io.Reader, size int64) (Created, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/files?filename="+url.QueryEscape(filename), body)
	if err != nil {
		return Created{}, err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return a.created(req)
}

// UploadJSON stores contents with the assignment's call.
func (a *API) UploadJSON(ctx context.Context, filename, contentType string, contents []byte) (Created, error) {
	doc, err := json.Marshal(map[string]any{"filename": filename, "content_type": contentType, "contents_b64": contents})
	if err != nil {
		return Created{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/files", bytes.NewReader(doc))
	if err != nil {
		return Created{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	return a.created(req)
}

func (a *API) created(req *http.Request) (c Created, err error) {
	resp, err := a.Do(req, http.StatusCreated)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return c, fmt.Errorf("read the answer to an upload: %w", err)
	}
	return c, nil
}

// Download opens the file's bytes. The caller reads to io.EOF and closes.
func (a *API) Download(ctx context.Context, id int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/files/%d", a.URL, id), nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.Do(req, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Digest downloads the file and returns the SHA-256 and the number of its bytes.
func (a *API) Digest(ctx context.Context, id int64) (sum [32]byte, size int64, err error) {
	body, err := a.Download(ctx, id)
	if err != nil {
		return sum, 0, err
	}
	defer body.Close()
	h := sha256.New()
	if size, err = io.Copy(h, body); err != nil {
		return sum, size, fmt.Errorf("download file %d: after %d bytes: %w", id, size, err)
	}
	h.Sum(sum[:0])
	return sum, size, nil
}

// Info is GET /files/{id}/info.
func (a *API) Info(ctx context.Context, id int64) (f File, err error) {
	err = a.call(ctx, http.MethodGet, fmt.Sprintf("/files/%d/info", id), http.StatusOK, &f)
	return f, err
}

// Files is GET /files.
func (a *API) Files(ctx context.Context) ([]File, error) {
	var answer struct {
		Files []File `json:"files"`
	}
	err := a.call(ctx, http.MethodGet, "/files", http.StatusOK, &answer)
	return answer.Files, err
}

// Delete is DELETE /files/{id}.
func (a *API) Delete(ctx context.Context, id int64) error {
	return a.call(ctx, http.MethodDelete, fmt.Sprintf("/files/%d", id), http.StatusOK, nil)
}

// Purge is DELETE /files/{id}?purge=1.
func (a *API) Purge(ctx context.Context, id int64) error {
	return a.call(ctx, http.MethodDelete, fmt.Sprintf("/files/%d?purge=1", id), http.StatusOK, nil)
}

// Undelete is POST /files/{id}/undelete.
func (a *API) Undelete(ctx context.Context, id int64) error {
	return a.call(ctx, http.MethodPost, fmt.Sprintf("/files/%d/undelete", id), http.StatusOK, nil)
}

// Nodes is GET /nodes.
func (a *API) Nodes(ctx context.Context) ([]Node, error) {
	var answer struct {
		Nodes []Node `json:"nodes"`
	}
	err := a.call(ctx, http.MethodGet, "/nodes", http.StatusOK, &answer)
	return answer.Nodes, err
}

// Unexplained counts the chunks on nodes that nothing explains, by GET /status; nil: it is not
// known yet.
func (a *API) Unexplained(ctx context.Context) (*int64, error) {
	var answer struct {
		Unexplained *int64 `json:"unexplained_chunks"`
	}
	err := a.call(ctx, http.MethodGet, "/status", http.StatusOK, &answer)
	return answer.Unexplained, err
}

// Message returns the words of GET /status for people.
func (a *API) Message(ctx context.Context) (string, error) {
	var answer struct {
		Message string `json:"message"`
	}
	err := a.call(ctx, http.MethodGet, "/status", http.StatusOK, &answer)
	return answer.Message, err
}

// Ready is GET /readyz.
func (a *API) Ready(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, "/readyz", http.StatusOK, nil)
}
