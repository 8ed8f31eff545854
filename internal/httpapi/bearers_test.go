package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// underWay begins a request of each kind with a token, none of which ends by
// itself: an upload whose body stops, one that waits for its nodes, a download and
// a listing that nobody takes.
func (s *server) underWay(token string) map[string]net.Conn {
	s.Helper()
	head := func(method, path string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", method, path, token)
	}
	all := map[string]net.Conn{}
	for name, text := range map[string]string{
		"an upload":               head("POST", "/files?filename=f") + "Content-Length: 1000000\r\n\r\nthe beginning",
		"an upload that is whole": head("POST", "/files?filename=f") + "Content-Length: 1\r\n\r\nx",
		"a download":              head("GET", "/files/99") + "\r\n",
		"a listing":               head("GET", "/files") + "\r\n",
	} {
		c := s.dial()
		io.WriteString(c, text)
		all[name] = c
	}
	kit.Eventually(s, "all are under way", func() bool {
		s.api.bearers.mu.Lock()
		defer s.api.bearers.mu.Unlock()
		return len(s.api.bearers.of[token[7:15]]) == len(all) && s.api.transfers.InUse() == 3
	})
	return all
}

// mustBeCut reads what a client still gets, which must not be all.
func (s *server) mustBeCut(all map[string]net.Conn) {
	s.Helper()
	for name, c := range all {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			s.Errorf("%s: not cut: %v", name, err)
		}
	}
	kit.Eventually(s, "their places are free", func() bool { return s.api.transfers.InUse() == 0 && s.api.listings.InUse() == 0 })
}

// manyFiles is a store whose listing and whose file 99 are more than sockets buffer.
func manyFiles() *store {
	st := newStore()
	st.hold = make(chan struct{})
	st.files[99] = stored{File: raid.File{ID: 99, Filename: "f", ContentType: "a/b", Size: 64 << 20, Stripes: 1}, data: make([]byte, 64<<20)}
	for i := raid.FileID(100); i < 8000; i++ {
		st.files[i] = stored{File: raid.File{ID: i, Filename: strings.Repeat("x", 4000), ContentType: "a/b", Stripes: 1}}
	}
	return st
}

func TestRequestsOfARevokedTokenAreCut(t *testing.T) {
	ts := &tokens{}
	st := manyFiles()
	s := serve(t, st, withAuth(ts))
	gone, other, admin := ts.add(raid.ScopeWrite), ts.add(raid.ScopeWrite), ts.add(raid.ScopeAdmin)
	all := s.underWay(gone)
	kept := s.dial()
	fmt.Fprintf(kept, "POST /files?filename=kept HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 4\r\n\r\nke", other)
	began := time.Now()
	if r := s.do("DELETE", "/access-tokens/"+gone[7:15], nil, "Authorization: Bearer "+admin); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if took := time.Since(began); took > endingTime {
		t.Errorf("it took %v", took)
	}
	s.api.bearers.mu.Lock()
	left := len(s.api.bearers.of[gone[7:15]])
	s.api.bearers.mu.Unlock()
	if left != 0 {
		t.Errorf("%d of its requests are served after it was revoked", left)
	}
	close(st.hold)
	io.WriteString(kept, "pt")
	if r := s.answer(kept); r.StatusCode != 201 {
		t.Errorf("the request of another token: %d %s", r.StatusCode, r.body)
	}
	s.mustBeCut(all)
	if n := s.store.count(); n != 7902 {
		t.Errorf("%d files are stored", n)
	}
	if r := s.do("GET", "/files", nil, "Authorization: Bearer "+gone); r.StatusCode != 401 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

func TestRequestsOfATokenThatEndsByTimeAreCut(t *testing.T) {
	ts := &tokens{}
	s := serve(t, manyFiles(), withAuth(ts))
	token := ts.add(raid.ScopeWrite, func(k *raid.AccessToken) { k.Expires = "2026-01-02 03:04:06" })
	all := s.underWay(token)
	time.Sleep(expiryRound + expiryRound/2)
	s.api.bearers.mu.Lock()
	if n := len(s.api.bearers.of[token[7:15]]); n != len(all) {
		t.Errorf("%d of %d requests are under way before its end", n, len(all))
	}
	s.api.bearers.mu.Unlock()
	ts.mu.Lock()
	ts.all[0].Expired = true
	ts.mu.Unlock()
	kit.Eventually(s, "none of its requests is under way", func() bool { // none takes what comes before
		s.api.bearers.mu.Lock()
		defer s.api.bearers.mu.Unlock()
		return len(s.api.bearers.of) == 0
	})
	s.mustBeCut(all)
}

func TestATokenMayRevokeItself(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts))
	admin := ts.add(raid.ScopeAdmin)
	if r := s.do("DELETE", "/access-tokens/"+admin[7:15], nil, "Authorization: Bearer "+admin); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := s.do("GET", "/status", nil, "Authorization: Bearer "+admin); r.StatusCode != 401 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

// What is wrong with an array is nobody's business who may not read its status.
func TestReadyzTellsStrangersYesOrNo(t *testing.T) {
	ts := &tokens{}
	read := "Authorization: Bearer " + ts.add(raid.ScopeRead)
	var wrong error
	p := servePort(t, portSetup{wrap: kit.SeemsFrom("192.168.1.7"), config: func(c *Config) {
		c.Auth, c.Tokens, c.Ready = true, ts, func() error { return wrong }
	}})
	ask := func(header ...string) string {
		r := p.through(p.https, p.secure, "GET", "/readyz", nil, header...)
		return fmt.Sprintf("%d %s", r.StatusCode, strings.TrimSpace(string(r.body)))
	}
	if got := ask(); got != `200 {"status":"ready"}` {
		t.Error(got)
	}
	wrong = errors.New("node 7 at 10.0.0.7 has seen commit 12")
	for name, header := range map[string][]string{"nothing": nil, "a wrong token": {"Authorization: Bearer x"}} {
		if got := ask(header...); got != `503 {"message":"not ready"}` {
			t.Errorf("with %s: %s", name, got)
		}
	}
	if got := ask(read); !strings.Contains(got, "10.0.0.7") {
		t.Errorf("who may read the status: %s", got)
	}
	if r := p.root("GET", "/readyz", nil); r.StatusCode != 503 || !strings.Contains(string(r.body), "10.0.0.7") {
		t.Errorf("root: %d %s", r.StatusCode, r.body)
	}
}
