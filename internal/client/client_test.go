package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestListGoesThroughAllPages(t *testing.T) {
	a := newArray(t, nil, cutAnswer(100), status(503, "Retry-After", "0"))
	for i := range 2*listPage + 3 {
		a.put(fmt.Sprintf("file-%d", i), nil)
	}
	for _, c := range []struct {
		q    Query
		want int64
	}{
		{Query{}, 2*listPage + 3}, {Query{Limit: 7}, 7}, {Query{Limit: listPage}, listPage}, {Query{Limit: listPage + 1}, listPage + 1},
		{Query{After: 1000}, 3}, {Query{Filename: "-99"}, 11}, {Query{Filename: "none"}, 0}, {Query{Limit: 5000}, 2*listPage + 3},
	} {
		n, last := int64(0), raid.FileID(0)
		for f, err := range a.client.List(t.Context(), c.q) {
			if err != nil {
				t.Fatal(err)
			}
			if f.ID <= last || f.Filename != fmt.Sprintf("file-%d", f.ID-1) {
				t.Fatalf("file %d (%q) after %d", f.ID, f.Filename, last)
			}
			n, last = n+1, f.ID
		}
		if n != c.want {
			t.Errorf("%+v: %d files, want %d", c.q, n, c.want)
		}
	}
}

func TestListEndsWhereTheCallerStops(t *testing.T) {
	a := newArray(t)
	for range 10 {
		a.put("f", nil)
	}
	for range a.client.List(t.Context(), Query{}) {
		break
	}
	for _, err := range a.client.List(t.Context(), Query{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(a.seen(), "GET"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestListCopesWithAServerWithoutPages(t *testing.T) {
	all := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.RawQuery = ""
		next.ServeHTTP(w, r)
	}
	a := newArray(t, all, all, all, all)
	for range listPage {
		a.put("f", nil)
	}
	n := 0
	for _, err := range a.client.List(t.Context(), Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != listPage {
		t.Errorf("%d files, want %d", n, listPage)
	}
}

func TestRecordsComeWhole(t *testing.T) {
	a := newArray(t)
	id := a.put("ü\n", []byte("x"))
	f, err := a.client.Info(t.Context(), id)
	if err != nil || f.ID != id || f.Filename != "ü\n" || f.Size != 1 || len(f.Parts) != 2 || f.Parts[0] == "" || f.Created != "2026-01-02 03:04:05" || len(f.SHA256) != 64 {
		t.Errorf("info %+v, %v", f, err)
	}
	nodes, err := a.client.Nodes(t.Context())
	if err != nil || len(nodes) != 2 || nodes[0].State != raid.Up || nodes[0].LastSeen == nil || nodes[1].Kind != raid.Lab || nodes[1].LastSeen != nil {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	s, err := a.client.Status(t.Context())
	if err != nil || s.Array != "theArray" || s.Version != "1.2.3" || !s.Ready || s.Commit != 1<<63 || s.Nodes.Down != 1 ||
		len(s.Clones) != 1 || s.Clones[0] != (Clone{"n1", "a:1", "2026-01-02 03:04:05"}) {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestDeleteSucceedsWhenItsAnswerIsLost(t *testing.T) {
	a := newArray(t, loseAnswer)
	id := a.put("f", nil)
	if err := a.client.Delete(t.Context(), id); err != nil || len(a.files) != 0 {
		t.Errorf("%v, %d files", err, len(a.files))
	}
	if err := a.client.Delete(t.Context(), id); StatusOf(err) != 404 {
		t.Errorf("a second deletion: %v", err)
	}
}

func TestDeleteOfAMissingFileIsNotFoundAlsoAfterARefusal(t *testing.T) {
	a := newArray(t, status(503, "Retry-After", "0"))
	if err := a.client.Delete(t.Context(), 1); StatusOf(err) != 404 {
		t.Error(err)
	}
}

func TestUnreachableControllerIsToldApart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	c, err := New(Config{URL: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Status(t.Context())
	var u *UnreachableError
	if !errors.As(err, &u) || u.URL != "http://"+addr || err.Error() != "connect to http://"+addr+": connection refused" {
		t.Error(err)
	}
	if _, err := c.Upload(t.Context(), Upload{Filename: "f", Body: strings.NewReader("x"), Size: 1}); !errors.As(err, &u) {
		t.Error(err)
	}
}

func TestURLsAreChecked(t *testing.T) {
	for in, want := range map[string]string{
		"pi": "https://pi:9000", "http://pi:9000/": "http://pi:9000", "https://pi/raid/": "https://pi:9000/raid", "[::1]:9000": "http://[::1]:9000",
		"fe80::1%Lo": "https://[fe80::1%25Lo]:9000", "localhost": "http://localhost:9000",
		"": "", "http://": "", "ftp://pi": "", "http://pi?x": "", "http://pi:port": "", "a b": "",
	} {
		c, err := New(Config{URL: in})
		if want == "" {
			if err == nil {
				t.Errorf("%q was accepted as %s", in, c.URL())
			}
		} else if err != nil || c.URL() != want {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestErrorsTellStatusAndWords(t *testing.T) {
	a := newArray(t, status(507))
	_, err := a.client.Info(t.Context(), 3)
	if err == nil || err.Error() != "injected 507" || StatusOf(err) != 507 {
		t.Error(err)
	}
}
