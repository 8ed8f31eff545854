package httpserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// ambiguous are requests that some program frames in another way than another.
// %s is where a whole second request could hide.
var ambiguous = map[string]string{
	"chunked in HTTP/1.0":              "POST /files?filename=f HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked in HTTP/1.0 with length":  "POST /files?filename=f HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked in HTTP/1.0, kept alive":  "POST /files?filename=f HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"no length in HTTP/1.0":            "POST /files?filename=f HTTP/1.0\r\n\r\nabc",
	"no length in HTTP/1.0, kept":      "POST /files?filename=f HTTP/1.0\r\nConnection: keep-alive\r\n\r\nabc",
	"a length with an underscore":      post + "Content_Length: 3\r\n\r\nabc",
	"a coding with an underscore":      post + "Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
	"length and chunked":               post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked and length":               post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked and no length":            post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
	"two lengths":                      post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	"the same length twice":            post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
	"a list of lengths":                post + "Content-Length: 3, 3\r\n\r\nabc",
	"a signed length":                  post + "Content-Length: +3\r\n\r\nabc",
	"a negative length":                post + "Content-Length: -3\r\n\r\nabc",
	"a length in hexadecimal":          post + "Content-Length: 0x3\r\n\r\nabc",
	"a length with a space in it":      post + "Content-Length: 1 0\r\n\r\nabcdefghij",
	"an empty length":                  post + "Content-Length: \r\n\r\nabc",
	"a huge length":                    post + "Content-Length: 9223372036854775808\r\n\r\nabc",
	"a length of many zeros":           post + "Content-Length: " + strings.Repeat("0", 40) + "3\r\n\r\nabc",
	"chunked twice in a list":          post + "Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked in two lines":             post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked and identity in lines":    post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"identity":                         post + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
	"chunked that is not last":         post + "Transfer-Encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"an unknown coding":                post + "Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"a coding with a parameter":        post + "Transfer-Encoding: chunked;q=1\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"a coding in quotes":               post + "Transfer-Encoding: \"chunked\"\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"a comma before the coding":        post + "Transfer-Encoding: , chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"an empty coding":                  post + "Transfer-Encoding: \r\nContent-Length: 3\r\n\r\nabc",
	"a vertical tab before the coding": post + "Transfer-Encoding:\vchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"a space before the colon":         post + "Transfer-Encoding : chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"a space before another colon":     post + "X-A : b\r\n\r\n",
	"a tab before the colon":           post + "Content-Length\t: 3\r\n\r\nabc",
	"obs-fold":                         post + "X-A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc",
	"obs-fold of a coding":             post + "Transfer-Encoding:\r\n chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"obs-fold with a tab":              post + "X-A: b\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
	"a first field that is folded":     "POST /files?filename=f HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
	"bare LF everywhere":               "POST /files?filename=f HTTP/1.1\nHost: localhost\nContent-Length: 3\n\nabc",
	"bare LF behind the request line":  "POST /files?filename=f HTTP/1.1\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
	"bare LF behind a field":           post + "X-A: b\nContent-Length: 3\r\n\r\nabc",
	"bare LF at the header's end":      post + "Content-Length: 3\r\n\nabc",
	"bare LF behind the header":        post + "Content-Length: 3\n\r\nabc",
	"bare CR in a value":               post + "X-A: b\rContent-Length: 3\r\n\r\nabc",
	"bare CR at the header's end":      post + "Content-Length: 3\r\n\rabc\n",
	"two CRs":                          post + "Content-Length: 3\r\r\n\r\nabc",
	"NUL in a value":                   post + "X-A: b\x00c\r\nContent-Length: 3\r\n\r\nabc",
	"NUL in a name":                    post + "X-\x00A: b\r\nContent-Length: 3\r\n\r\nabc",
	"NUL in the request line":          "POST /files?filename=f\x00 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
	"DEL in a value":                   post + "X-A: b\x7f\r\nContent-Length: 3\r\n\r\nabc",
	"a tab in the request line":        "POST\t/files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
	"a field without a colon":          post + "X-A\r\nContent-Length: 3\r\n\r\nabc",
	"a field without a name":           post + ": b\r\nContent-Length: 3\r\n\r\nabc",
	"a name that is none":              post + "Content-Length(x): 3\r\n\r\nabc",
	"a name beyond ASCII":              post + "Content-L\u00e4nge: 3\r\n\r\nabc",
	"a chunk of no size":               chunked + "\r\nabc\r\n0\r\n\r\n",
	"a chunk size with a sign":         chunked + "+3\r\nabc\r\n0\r\n\r\n",
	"a chunk size with 0x":             chunked + "0x3\r\nabc\r\n0\r\n\r\n",
	"a chunk size with a space":        chunked + "3 \r\nabc\r\n0\r\n\r\n",
	"a chunk size behind a space":      chunked + " 3\r\nabc\r\n0\r\n\r\n",
	"a chunk size with underscores":    chunked + "0_3\r\nabc\r\n0\r\n\r\n",
	"a chunk size that overflows":      chunked + "10000000000000003\r\nabc\r\n0\r\n\r\n",
	"a negative chunk size":            chunked + "-3\r\nabc\r\n0\r\n\r\n",
	"bare LF behind a chunk size":      chunked + "3\nabc\r\n0\r\n\r\n",
	"bare LF behind a chunk":           chunked + "3\r\nabc\n0\r\n\r\n",
	"bare CR behind a chunk size":      chunked + "3\rabc\r\n0\r\n\r\n",
	"a chunk that is longer":           chunked + "3\r\nabcd\r\n0\r\n\r\n",
	"a chunk that is shorter":          chunked + "4\r\nabc\r\n0\r\n\r\n",
	"bare LF behind the last chunk":    chunked + "3\r\nabc\r\n0\n\r\n",
	"bare LF at the trailer's end":     chunked + "3\r\nabc\r\n0\r\n\n",
	"bare LF in an extension":          chunked + "3;a\nabc\r\n0\r\n\r\n",
	"bare CR in an extension":          chunked + "3;a\rb\r\nabc\r\n0\r\n\r\n",
	"a line break in quotes":           chunked + "3;a=\"\r\nabc\r\n0\r\n\r\n",
	"NUL in an extension":              chunked + "3;\x00\r\nabc\r\n0\r\n\r\n",
	"an extension beyond ASCII":        chunked + "3;\u00e4\r\nabc\r\n0\r\n\r\n",
	"an extension behind a space":      chunked + "3 ;a\r\nabc\r\n0\r\n\r\n",
	"an endless extension":             chunked + "3;" + strings.Repeat("a", 10_000) + "\r\nabc\r\n0\r\n\r\n",
	"obs-fold in the trailer":          chunked + "3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n",
	"a length in the trailer":          chunked + "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
	"a coding in the trailer":          chunked + "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
	"NUL in the trailer":               chunked + "3\r\nabc\r\n0\r\nX-A: \x00\r\n\r\n",
}

const (
	post    = "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\n"
	chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
)

// Whatever a proxy could read in another way is 400, and the connection closes
// before anything that follows is taken for a request.
func TestAmbiguousFramingIs400AndCloses(t *testing.T) {
	p := serve(t, setup{})
	for name, request := range ambiguous {
		for _, before := range []string{"", live, post + "Content-Length: 1\r\n\r\nx"} {
			for kind, c := range map[string]net.Conn{"HTTP": p.dial(), "HTTPS": p.handshake(p.dial())} {
				stored := p.site.count()
				fmt.Fprint(c, before, request, "DELETE /files/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
				in := bufio.NewReader(c)
				if before != "" {
					if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode >= 400 {
						t.Fatalf("%s, %s: the request before is answered with %v, %v", kind, name, r, err)
					} else {
						io.Copy(io.Discard, r.Body)
					}
					if strings.HasPrefix(before, "POST") {
						stored++
					}
				}
				checkRefused(t, kind+", "+name, in)
				if n := p.site.count(); n != stored {
					t.Errorf("%s, %s: %d files in place of %d", kind, name, n, stored)
				}
				c.Close()
			}
		}
	}
	if p.site.deleted != 0 {
		t.Error("a request that was hidden in another was served")
	}
}

// checkRefused reads one answer of 400 with words, and the end.
func checkRefused(t *testing.T, name string, in *bufio.Reader) {
	t.Helper()
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Errorf("%s: no answer: %v", name, err)
		return
	}
	body, err := io.ReadAll(r.Body)
	var text struct{ Message string }
	if json.Unmarshal(body, &text) != nil || r.StatusCode != 400 || !r.Close || r.Header.Get("Content-Type") != "application/json" || err != nil {
		t.Errorf("%s: %d, close %v, %q, %v", name, r.StatusCode, r.Close, body, err)
	}
	if more, err := io.ReadAll(in); len(more) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("%s: behind the answer comes %q, %v", name, more, err)
	}
}

// A file may look like an error of net/http's, and is sent as it is whatever follows
// the request for it.
func TestFileThatLooksLikeAnErrorIsNotReplaced(t *testing.T) {
	s := serve(t, setup{})
	text := "HTTP/1.1 400 Bad Request" + errorHeaders + "400 Bad Request"
	for _, size := range []int{len(text), 4 * writePiece} {
		data := []byte(strings.Repeat(text+strings.Repeat("x", 1<<10-len(text)), size>>10+1)[:size])
		path := s.ask(s.client, s.url, "POST", "/files?filename=f", bytes.NewReader(data)).Header.Get("Location")
		c := s.dial()
		in := bufio.NewReader(c)
		for range 3 {
			io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		io.WriteString(c, ambiguous["obs-fold"])
		for range 3 {
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(body, data) {
				t.Errorf("%d of %d bytes, %v", len(body), size, err)
			}
		}
		checkRefused(t, "behind the file", in)
	}
}

// Each byte alone, as the slowest network brings it.
func TestAmbiguousFramingIsFoundByteByByte(t *testing.T) {
	for name, request := range ambiguous {
		var f framing
		fault := ""
		for i := 0; i < len(request) && fault == ""; i++ {
			_, fault = f.scan([]byte{request[i]})
		}
		var whole framing
		if _, all := whole.scan([]byte(request)); fault == "" || all != fault {
			t.Errorf("%s: %q, and in one piece %q", name, fault, all)
		}
	}
}

// What real clients send is served, many requests on one connection.
func TestUsualFramingIsServed(t *testing.T) {
	s := serve(t, setup{})
	for name, c := range map[string]struct {
		request string
		status  int
		body    string
	}{
		"a length":                  {post + "Content-Length: 3\r\n\r\nabc", 201, "abc"},
		"no body":                   {post + "\r\n", 201, ""},
		"a length of zero":          {post + "content-length:0\r\n\r\n", 201, ""},
		"a length between spaces":   {post + "Content-Length: \t 3 \t\r\n\r\nabc", 201, "abc"},
		"chunks":                    {chunked + "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", 201, "abc0123456789"},
		"chunked in capitals":       {post + "TRANSFER-ENCODING: Chunked\r\n\r\n1\r\na\r\n000\r\n\r\n", 201, "a"},
		"a chunk with extensions":   {chunked + "3;a=b;c=\"d\\\";e\";f\r\nabc\r\n0;x\r\n\r\n", 201, "abc"},
		"a trailer":                 {post + "Trailer: Repr-Digest\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nRepr-Digest: sha-512=:eA==:\r\n\r\n", 201, "a"},
		"a value beyond ASCII":      {post + "User-Agent: \u00e4\xff\t!\r\nX-Empty:\r\nContent-Length: 1\r\n\r\na", 201, "a"},
		"an empty line before":      {"\r\n" + post + "Content-Length: 1\r\n\r\na", 201, "a"}, // as old clients send behind a POST
		"a name beyond ASCII":       {"POST /files?filename=\u00fc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", 201, "a"},
		"a coding that nobody has":  {"GET /livez HTTP/1.1\r\nHost: localhost\r\nTE: trailers, deflate;q=0.5\r\n\r\n", 200, ""},
		"a length of HTTP/1.0":      {"POST /files?filename=f HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", 201, "abc"},
		"a long header":             {post + "X-A: " + strings.Repeat("a b ", 10_000) + "\r\nContent-Length: 1\r\n\r\na", 201, "a"},
		"a body that looks like it": {post + "Content-Length: 42\r\n\r\nGET / HTTP/1.0\n\nTransfer-Encoding : chunked", 201, "GET / HTTP/1.0\n\nTransfer-Encoding : chunked"},
	} {
		if name == "a body that looks like it" {
			c.request = strings.Replace(c.request, "42", fmt.Sprint(len(c.body)), 1)
		}
		conn := s.dial()
		in := bufio.NewReader(conn)
		first := post + "Content-Length: 1\r\n\r\nx" // so that it is behind a POST
		for i, request := range []string{first, c.request, first, c.request, live} {
			io.WriteString(conn, request)
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s, request %d: %v", name, i, err)
			}
			io.Copy(io.Discard, r.Body)
			if want := map[bool]int{true: c.status, false: 201}[request == c.request]; r.StatusCode != want && i < 4 || i == 4 && r.StatusCode != 200 {
				t.Errorf("%s, request %d: %d", name, i, r.StatusCode)
			}
			if request == c.request && c.status == 201 {
				if got := s.ask(s.client, s.url, "GET", r.Header.Get("Location"), nil); string(got.body) != c.body {
					t.Errorf("%s: %q was stored", name, got.body)
				}
			}
		}
		conn.Close()
	}
}

// A coding that RFC 9112 allows, and that is not known here, has its own status.
func TestUnknownTransferCodingIs501(t *testing.T) {
	s := serve(t, setup{})
	c := s.dial()
	io.WriteString(c, post+"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	if r := s.answer(c); r.StatusCode != 501 || !r.Close {
		t.Errorf("%d", r.StatusCode)
	}
}

// What passes is read by net/http in the very same way.
func FuzzFraming(f *testing.F) {
	for _, request := range ambiguous {
		f.Add([]byte(request), 7)
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 1)
	f.Add([]byte("0 * HTTP/0.1\r\nTransfer-Encoding: 0,chunked\r\n\r\n"), 5)
	f.Add([]byte(post+"Content-Length: 3\r\n\r\nabc\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 100)
	f.Add([]byte(chunked+"3;a=\"b\"\r\nabc\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = max(1, piece%1000)
		var scanned framing
		right, fault := 0, ""
		for right < len(b) && fault == "" {
			n, what := scanned.scan(b[right:min(len(b), right+piece)])
			right, fault = right+n, what
		}
		if fault != "" {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		asked := int64(0)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return // net/http closes the connection
			}
			asked++
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if in.Buffered() == 0 && len(b) < 4096 {
				break
			}
			if r.Method == "POST" { // as net/http does
				peek, _ := in.Peek(4)
				for len(peek) > 0 && (peek[0] == '\r' || peek[0] == '\n') {
					peek = peek[1:]
					in.Discard(1)
				}
			}
		}
		if len(b) < 4096 && (asked != scanned.asked || scanned.state != beforeRequest && scanned.state != emptyLF) {
			t.Errorf("net/http reads %d requests, and here there are %d, state %d: %q", asked, scanned.asked, scanned.state, b)
		}
	})
}

// A client may close its side when it has said all, and wait for the answer.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	const stall = 500 * time.Millisecond
	data := kit.Data(5_000_000)
	st := newSite()
	st.stall, st.hold = stall, make(chan struct{})
	p := serve(t, setup{site: st, config: func(c *Config) { c.Stall = stall }})
	go func() {
		for range 2 {
			time.Sleep(stall / 4)
			st.hold <- struct{}{}
		}
		close(st.hold)
	}()
	for kind, dial := range map[string]func() net.Conn{"HTTP": p.dial, "HTTPS": func() net.Conn { return p.handshake(p.dial()) }} {
		c := dial()
		fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n", post, len(data))
		c.Write(data)
		c.(interface{ CloseWrite() error }).CloseWrite()
		r := p.answer(c)
		if r.StatusCode != 201 {
			t.Fatalf("%s: an upload: %d %s", kind, r.StatusCode, r.body)
		}
		c = dial()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", r.Header.Get("Location"))
		c.(interface{ CloseWrite() error }).CloseWrite()
		if r = p.answer(c); r.StatusCode != 200 || !bytes.Equal(r.body, data) {
			t.Errorf("%s: a download: %d, %d bytes", kind, r.StatusCode, len(r.body))
		}
		c = dial() // several requests at once
		io.WriteString(c, strings.Repeat(live, 3))
		c.(interface{ CloseWrite() error }).CloseWrite()
		all, err := io.ReadAll(c)
		if n := bytes.Count(all, []byte("HTTP/1.1 200 OK")); n != 3 || err != nil {
			t.Errorf("%s: %d answers to three requests: %v", kind, n, err)
		}
	}
}

// Who closes in the middle of a request has said nothing.
func TestClosedInTheMiddleOfARequestIsNoRequest(t *testing.T) {
	s := serve(t, setup{})
	for _, said := range []string{"GET", "GET /livez HTTP/1.1\r\nHost: localhost\r\n", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r"} {
		c := s.dial()
		io.WriteString(c, said)
		c.(*net.TCPConn).CloseWrite()
		if b, _ := io.ReadAll(c); bytes.Contains(b, []byte(" 200 ")) {
			t.Errorf("%q is answered with %q", said, b)
		}
	}
}
