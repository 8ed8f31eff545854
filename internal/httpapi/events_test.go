package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/events"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// newEvents is a log of events on a catalog.
func newEvents(t *testing.T) *events.Log {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return events.New(events.Config{Store: c, Log: slog.New(slog.DiscardHandler)})
}

func withEvents(l *events.Log) func(*Config) { return func(c *Config) { c.Events = l } }

// tellAll tells events of kinds of their own, so that none is summed up.
func tellAll(l *events.Log, texts ...string) {
	for _, text := range texts {
		l.Tell(raid.Event{Kind: raid.EventKind("kind-" + text), Node: "n1", File: 7, Text: text, Advice: "look"})
	}
}

func (r reply) events(t *testing.T) (all []raid.EventRecord, texts string) {
	t.Helper()
	var answer struct {
		Events []raid.EventRecord `json:"events"`
	}
	if err := json.Unmarshal(r.body, &answer); err != nil || answer.Events == nil {
		t.Fatalf("%d %s: %v", r.StatusCode, r.body, err)
	}
	for _, e := range answer.Events {
		texts += e.Text
	}
	return answer.Events, texts
}

func TestEventsAreListedFromBothEnds(t *testing.T) {
	l := newEvents(t)
	s := serve(t, newStore(), withEvents(l))
	if all, _ := s.do("GET", "/events", nil).events(t); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	tellAll(l, "a", "b", "c", "d", "e")
	all, texts := s.do("GET", "/events", nil).events(t)
	if texts != "abcde" || all[0].Node != "n1" || *all[0].File != 7 || all[0].Advice != "look" || all[0].At == "" || all[0].Seq < 1 {
		t.Errorf("%+v", all)
	}
	for query, want := range map[string]string{
		"?limit=2":                                     "de",
		"?after=0&limit=2":                             "ab",
		fmt.Sprintf("?after=%d", all[1].Seq):           "cde",
		fmt.Sprintf("?after=%d&limit=1", all[1].Seq):   "c",
		fmt.Sprintf("?after=%d", all[4].Seq):           "",
		fmt.Sprintf("?limit=5&after=%d", all[4].Seq+9): "",
	} {
		if _, got := s.do("GET", "/events"+query, nil).events(t); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?after=x", "?after=-1", "?follow=2"} {
		if r := s.do("GET", "/events"+query, nil); r.StatusCode != 400 {
			t.Errorf("%s: %d %s", query, r.StatusCode, r.body)
		}
	}
	if r := s.do("HEAD", "/events", nil); r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD: %d %v", r.StatusCode, r.Header)
	}
	if r := s.do("HEAD", "/events?follow=1", nil); r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD with follow: %d %v", r.StatusCode, r.Header)
	}
}

func TestEventsNeedAToken(t *testing.T) {
	l := newEvents(t)
	ts := &tokens{}
	s := serve(t, newStore(), withEvents(l), withAuth(ts))
	if r := s.ask("GET", "/events", faraway, "pi.local"); r.Code != 401 {
		t.Errorf("without a token: %d %s", r.Code, r.Body)
	}
	if r := s.do("GET", "/events", nil, "Authorization: Bearer "+ts.add(raid.ScopeRead)); r.StatusCode != 200 {
		t.Errorf("with scope read: %d %s", r.StatusCode, r.body)
	}
}

// follower follows the events over a connection of its own.
type follower struct {
	*testing.T
	conn net.Conn
	in   *bufio.Reader
	res  *http.Response
	id   string // of the last event
}

func (s *server) follow(query string, header ...string) *follower {
	s.Helper()
	f := &follower{T: s.T, conn: s.dial()}
	fmt.Fprintf(f.conn, "GET /events?follow=1%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", query, strings.Join(append(header, ""), "\r\n"))
	res, err := http.ReadResponse(bufio.NewReader(f.conn), nil)
	if err != nil {
		s.Fatal(err)
	}
	f.res, f.in = res, bufio.NewReader(res.Body)
	return f
}

// next is the text of the next event; an error when the connection ends.
func (f *follower) next() (string, error) {
	var e raid.EventRecord
	for {
		line, err := f.in.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case strings.HasPrefix(line, "id: "):
			f.id = strings.TrimSpace(line[4:])
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(line[6:]), &e); err != nil {
				f.Fatal(err)
			}
		case line == "\n" && e.Seq > 0:
			if fmt.Sprint(e.Seq) != f.id {
				f.Errorf("event %d has id %s", e.Seq, f.id)
			}
			return e.Text, nil
		}
	}
}

func (f *follower) wants(texts ...string) {
	f.Helper()
	for _, want := range texts {
		if got, err := f.next(); err != nil || got != want {
			f.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestFollowersHearOfEventsAsTheyHappen(t *testing.T) {
	l := newEvents(t)
	s := serve(t, newStore(), withEvents(l))
	tellAll(l, "a", "b", "c")
	newest := s.follow("&limit=1")
	if ct := newest.res.Header.Get("Content-Type"); newest.res.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%d, %s", newest.res.StatusCode, ct)
	}
	newest.wants("c")
	all := s.follow("&after=0&limit=1")
	all.wants("a", "b", "c")
	tellAll(l, "d")
	newest.wants("d")
	all.wants("d")
	last := all.id
	all.conn.Close()
	tellAll(l, "e", "f")
	s.follow("", "Last-Event-ID: "+last).wants("e", "f") // as browsers come again
	newest.wants("e", "f")
	if r := s.do("GET", "/events?follow=1", nil, "Last-Event-ID: x"); r.StatusCode != 400 {
		t.Errorf("a wrong Last-Event-ID: %d", r.StatusCode)
	}
}

func TestAFollowerIsToldThatTheConnectionLives(t *testing.T) {
	s := serve(t, newStore(), withEvents(newEvents(t)), func(c *Config) { c.Stall = 200 * time.Millisecond })
	f := s.follow("")
	began := time.Now()
	for comments := 0; comments < 5; {
		line, err := f.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == ":\n" {
			comments++
		}
	}
	if time.Since(began) < 300*time.Millisecond {
		t.Error("it is told all the time")
	}
}

func TestFollowersAreBoundedForEachAddressAndInAll(t *testing.T) {
	l := newEvents(t)
	ts := &tokens{}
	s := serve(t, newStore(), withEvents(l), withAuth(ts))
	as := func(token string) string { return "Authorization: Bearer " + token }
	var open []*follower
	for range maxFollowers / maxFollowing {
		token := ts.add(raid.ScopeRead)
		for range maxFollowing {
			open = append(open, s.follow("", as(token)))
		}
		if r := s.do("GET", "/events?follow=1", nil, as(token)); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("one more of the same: %d %s", r.StatusCode, r.body)
		}
	}
	another := as(ts.add(raid.ScopeRead))
	if r := s.do("GET", "/events?follow=1", nil, another); r.StatusCode != 503 {
		t.Errorf("one more in all: %d", r.StatusCode)
	}
	if r := s.do("GET", "/events", nil, another); r.StatusCode != 200 {
		t.Errorf("without follow: %d", r.StatusCode)
	}
	tellAll(l, "a")
	for _, f := range open {
		f.wants("a")
	}
	open[0].conn.Close()
	kit.Eventually(s, "a place is free", func() bool {
		tellAll(l, "x") // or nothing is written to the one that has left
		return s.api.followers.count() < maxFollowers
	})
	s.follow("", another)
}

// endless is a log with an event after each.
type endless struct{ *events.Log }

// After implements Events.
func (endless) After(_ context.Context, after int64, limit int) (all []raid.Event, err error) {
	for i := range int64(limit) {
		all = append(all, raid.Event{Seq: after + i + 1, Kind: raid.NodeUp, Text: strings.Repeat("x", 500)})
	}
	return all, nil
}

// A follower that takes nothing is cut, and costs the others nothing.
func TestAFollowerThatTakesNothingIsCut(t *testing.T) {
	s := serve(t, newStore(), func(c *Config) { c.Events, c.Stall = endless{newEvents(t)}, time.Second })
	quick := s.follow("&after=0")
	slow := s.follow("&after=0") // takes nothing
	defer slow.conn.Close()
	for s.api.followers.count() > 1 { // its connection has a deadline
		if _, err := quick.next(); err != nil {
			t.Fatalf("the one that takes all is cut, or none is: %v", err)
		}
	}
}

func TestFollowersEndWithTheController(t *testing.T) {
	s := serve(t, newStore(), withEvents(newEvents(t)), func(c *Config) { c.Drain = time.Minute })
	f := s.follow("")
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end waits %v for a follower", took)
	}
	text, err := io.ReadAll(f.in)
	if err != nil || !strings.Contains(string(text), "come again") {
		t.Errorf("it is told %q, %v", text, err)
	}
}

func TestFollowersEndWithTheirToken(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withEvents(newEvents(t)), withAuth(ts))
	token, admin := ts.add(raid.ScopeRead), ts.add(raid.ScopeAdmin)
	f := s.follow("", "Authorization: Bearer "+token)
	if r := s.do("DELETE", "/access-tokens/"+token[7:15], nil, "Authorization: Bearer "+admin); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if text, err := f.next(); err == nil {
		t.Errorf("it goes on with %q", text)
	}
}

// failing is a log whose disk can't be read.
type failing struct{ *events.Log }

func (failing) After(context.Context, int64, int) ([]raid.Event, error) {
	return nil, raid.ErrCatalogBroken
}

func TestEventsThatCantBeReadAreAnError(t *testing.T) {
	s := serve(t, newStore(), func(c *Config) { c.Events = failing{newEvents(t)} })
	for _, query := range []string{"?after=0", "?after=0&follow=1"} {
		if r := s.do("GET", "/events"+query, nil); r.StatusCode != 503 {
			t.Errorf("%s: %d %s", query, r.StatusCode, r.body)
		}
	}
}
