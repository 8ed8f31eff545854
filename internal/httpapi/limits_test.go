package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// answer reads an answer off a connection.
func (s *server) answer(c net.Conn) reply {
	s.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res, b, err}
}

func TestShortBodyIs400AndStoresNothing(t *testing.T) {
	s := serve(t, newStore())
	for _, head := range []string{
		"POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nonly this",
		"POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhel",
		"POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
		"POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"filename\":",
	} {
		c := s.dial()
		io.WriteString(c, head)
		c.(*net.TCPConn).CloseWrite()
		s.wantError(s.answer(c), http.StatusBadRequest)
	}
	if s.store.count() != 0 {
		t.Error("something was stored")
	}
}

// Most clients read only when all is written. The bodies are more than sockets
// buffer.
func TestRefusedClientReadsItsAnswer(t *testing.T) {
	st := newStore()
	st.uploadErr = fmt.Errorf("%w: no node has room", raid.ErrArrayFull)
	s := serve(t, st, func(c *Config) { c.MaxBody = 60 << 20 })
	body := make([]byte, 50<<20)
	for head, status := range map[string]int{
		"POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428800\r\n":                           507,
		"POST /files?filename= HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428800\r\n":                            400,
		"POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n":                           413,
		"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428800\r\n":                                    404,
		"PUT /files/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428800\r\n":                                     405,
		"POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 52428800\r\n":    400,
		"POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 52428800\r\n": 415,
	} {
		c := s.dial()
		if _, err := io.WriteString(c, head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(body); err != nil {
			t.Fatalf("%q: the connection broke while sending: %v", head, err)
		}
		r := s.answer(c)
		s.wantError(r, status)
		if !r.Close {
			t.Errorf("%q: the connection stays open with a body half read", head)
		}
	}
}

// A client that asks first is told before it sends.
func TestRefusalComesBefore100Continue(t *testing.T) {
	s := serve(t, newStore(), func(c *Config) { c.MaxBody = 1000 })
	for query, status := range map[string]int{"?filename=f": 413, "?filename=": 413, "?filename=a&filename=b": 413} {
		c := s.dial()
		start := time.Now()
		fmt.Fprintf(c, "POST /files%s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n\r\n", query)
		s.wantError(s.answer(c), status)
		if took := time.Since(start); took > restTime {
			t.Errorf("took %v", took)
		}
	}
	req, _ := http.NewRequest("POST", s.url+"/files?filename=f", strings.NewReader("body"))
	req.Header.Set("Expect", "100-continue")
	if r := s.send(req); r.StatusCode != 201 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// A small refused body does not cost the connection.
func TestConnectionSurvivesASmallRefusal(t *testing.T) {
	s := serve(t, newStore())
	c := s.dial()
	in := bufio.NewReader(c)
	for range 3 {
		fmt.Fprintf(c, "POST /files?filename= HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n%s", make([]byte, 100_000))
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		if res.StatusCode != 400 || res.Close {
			t.Fatalf("%d, close %v", res.StatusCode, res.Close)
		}
	}
}

func TestTransfersAreBoundedAndSmallCallsAreNot(t *testing.T) {
	st := newStore()
	st.hold = make(chan struct{})
	s := serve(t, st, func(c *Config) { c.MaxRequests, c.Wait = 2, 20*time.Millisecond })
	st.files[99] = stored{File: raid.File{ID: 99, Filename: "f", ContentType: "a/b", Size: 1}, data: []byte("x")}
	done := make(chan reply)
	for range 2 {
		go func() { done <- s.do("POST", "/files?filename=f", strings.NewReader("x")) }()
	}
	for deadline := time.Now().Add(10 * time.Second); s.api.transfers.InUse() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for _, r := range []reply{s.do("POST", "/files?filename=f", strings.NewReader("x")), s.do("GET", "/files/99", nil)} {
		s.wantError(r, http.StatusServiceUnavailable)
		if r.Header.Get("Retry-After") != "1" || r.Header.Get("ETag") != "" {
			t.Errorf("%v", r.Header)
		}
	}
	for _, path := range []string{"/status", "/files", "/files/99/info", "/livez", "/metrics"} {
		if r := s.do("GET", path, nil); r.StatusCode != 200 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	if r := s.do("HEAD", "/files/99", nil); r.StatusCode != 200 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
	close(st.hold)
	for range 2 {
		if r := <-done; r.StatusCode != 201 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if r := s.do("GET", "/files/99", nil); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

func TestStandingStillCutsAndProgressKeeps(t *testing.T) {
	const stall = 400 * time.Millisecond
	s := serve(t, newStore(), func(c *Config) { c.Stall = stall })
	post := "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"

	c := s.dial() // sends half and waits
	io.WriteString(c, post+"12345")
	s.wantError(s.answer(c), http.StatusRequestTimeout)

	c = s.dial() // sends slowly, for longer than stall
	io.WriteString(c, post)
	for range 10 {
		time.Sleep(stall / 4)
		io.WriteString(c, "x")
	}
	if r := s.answer(c); r.StatusCode != 201 {
		t.Errorf("a slow upload: %d %s", r.StatusCode, r.body)
	}
	if s.store.count() != 1 {
		t.Errorf("%d files", s.store.count())
	}
}

// An upload's commit, or a node, may take longer than a client may be silent.
func TestWaitingForTheArrayIsNotStandingStill(t *testing.T) {
	const stall = 200 * time.Millisecond
	st := newStore()
	st.hold = make(chan struct{})
	s := serve(t, st, func(c *Config) { c.Stall = stall })
	time.AfterFunc(4*stall, func() { close(st.hold) })
	if r := s.do("POST", "/files?filename=f", strings.NewReader("x")); r.StatusCode != 201 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestReaderThatStandsStillIsCut(t *testing.T) {
	st := newStore()
	s := serve(t, st, func(c *Config) { c.Stall = 300 * time.Millisecond })
	const size = 24 << 20 // more than sockets buffer
	st.files[1] = stored{File: raid.File{ID: 1, Filename: "f", ContentType: "a/b", Size: size}, data: make([]byte, size)}
	c := s.dial()
	io.WriteString(c, "GET /files/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		st.mu.Lock()
		opened, open := st.opened, st.open
		st.mu.Unlock()
		if opened == 1 && open == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the answer to a client that does not read is never given up")
		}
	}
	if b, _ := io.ReadAll(c); len(b) >= size {
		t.Error("all was sent")
	}
}

// One write of a whole file to a client that is slow but reads on.
func TestSlowReaderIsNotCut(t *testing.T) {
	const stall, size = 500 * time.Millisecond, 24 << 20
	st := newStore()
	st.wrap = readers["WriteTo"]
	s := serve(t, st, func(c *Config) { c.Stall = stall })
	st.files[1] = stored{File: raid.File{ID: 1, Filename: "f", ContentType: "a/b", Size: size}, data: make([]byte, size)}
	c := s.dial()
	io.WriteString(c, "GET /files/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	start, got := time.Now(), int64(0)
	for got < size {
		n, err := io.CopyN(io.Discard, c, 1<<20)
		got += n
		if err != nil {
			break // the header makes it a little more than size
		}
		time.Sleep(stall / 6)
	}
	if took := time.Since(start); got < size || took < 3*stall {
		t.Errorf("%d bytes in %v", got, took)
	}
}

func TestStrangersOnlyPushEachOtherOut(t *testing.T) {
	s := serve(t, newStore(), func(c *Config) { c.MaxConns = 20 })
	id := s.put("f", kit.Data(10_000))
	var conns []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if r := s.do("GET", "/files/"+id, nil); !bytes.Equal(r.body, kit.Data(10_000)) {
		t.Errorf("%d", r.StatusCode)
	}
	closed := 0
	for _, c := range conns[:100] {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != nil && !strings.Contains(err.Error(), "timeout") {
			closed++
		}
	}
	if closed != 100 {
		t.Errorf("%d of the 100 oldest connections were closed", closed)
	}
}
