package zmtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// changed is b with one byte replaced.
func changed(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}

// brokenHandshakes returns handshakes with which no peer of ours may get away.
func brokenHandshakes() map[string][]byte {
	typ := property("Socket-Type", "PUSH")
	with := func(after ...[]byte) []byte { return append(greeting(0), bytes.Join(after, nil)...) }
	cut := func(b []byte) []byte { return appendCommand(nil, cmdReady, b) }
	return map[string][]byte{
		"HTTP":                    []byte("GET / HTTP/1.1\r\nHost: controller.local\r\n\r\n" + strings.Repeat("x", 64)),
		"TLS":                     append([]byte{0x16, 3, 1}, make([]byte, 100)...),
		"signature header":        changed(hello(), 0, 0xFE),
		"signature footer":        changed(hello(), 9, 0),
		"version 2":               changed(hello(), 10, 2),
		"mechanism PLAIN":         append(changed(hello(), 12, 'P')[:64], hello()[64:]...),
		"mechanism with tail":     changed(hello(), 31, 'x'),
		"as-server 2":             changed(hello(), 32, 2),
		"message first":           with([]byte{0, 1, 'x'}),
		"READY with MORE":         with(changed(ready(typ), 0, flagCommand|flagMore)),
		"READY as message":        with(changed(ready(typ), 0, 0)),
		"READY with reserved bit": with(changed(ready(typ), 0, flagCommand|0x80)),
		"giant READY":             with(frame(flagCommand, 1<<40, "\x05READY")),
		"empty READY":             with(ready()),
		"PING first":              with(appendCommand(nil, cmdPing, []byte{0, 0})),
		"empty command":           with([]byte{flagCommand, 0}),
		"name longer than frame":  with([]byte{flagCommand, 2, 9, 'R'}),
		"key longer than data":    with(cut([]byte{8, 'S', 'o', 'c', 'k', 'e', 't'})),
		"key at the end":          with(cut([]byte{2, 'a', 'b'})),
		"value length cut":        with(cut([]byte{1, 'a', 0, 0, 0})),
		"value longer than data":  with(cut([]byte{1, 'a', 0xFF, 0xFF, 0xFF, 0xFF, 'x'})),
		"value length 2^31":       with(cut(append(typ, 1, 'a', 0x80, 0, 0, 0))),
		"empty key":               with(cut(append(bytes.Clone(typ), 0, 0, 0, 0, 0))),
		"strange key":             with(ready(typ, property("a b", ""))),
		"key twice":               with(ready(typ, property("X-A", "1"), property("x-a", "2"))),
		"type twice":              with(ready(typ, property("socket-type", "PULL"))),
		"unknown type":            with(ready(property("Socket-Type", "WORMHOLE"))),
		"wrong type":              with(ready(property("Socket-Type", "PULL"))),
		"long identity":           with(ready(typ, property("Identity", strings.Repeat("x", 256)))),
		"garbage after READY":     with(cut(append(bytes.Clone(typ), 0xFF))),
	}
}

func TestBrokenHandshakesAreRefused(t *testing.T) {
	for name, sent := range brokenHandshakes() {
		near, far := tcpPair(t)
		answer := make(chan []byte, 1)
		go func() {
			_, _ = near.Write(sent)
			_ = near.(*net.TCPConn).CloseWrite()
			b, _ := io.ReadAll(near)
			answer <- b
		}()
		_, err := Accept(t.Context(), far, Config{Type: Pull})
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "panic") {
			t.Errorf("%s went as far as a panic: %v", name, err)
		}
		if b := <-answer; strings.Contains(string(b), cmdReady) {
			t.Errorf("%s was answered READY", name)
		} else if strings.HasSuffix(name, " type") && !strings.Contains(string(b), "\x05ERROR") {
			t.Errorf("%s was not answered with ERROR: %q", name, b)
		}
	}
}

func TestConnectingToABrokenPeerFails(t *testing.T) {
	for name, sent := range brokenHandshakes() {
		near, far := tcpPair(t)
		go func() {
			_, _ = far.Write(sent)
			_ = far.(*net.TCPConn).CloseWrite()
		}()
		typ := Pull
		if _, err := Connect(t.Context(), near, Config{Type: typ}); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorsFromThePeerAreTold(t *testing.T) {
	for data, want := range map[string]string{
		"\x04full": "full", "": "", "\x00": "", "\xffshort": "\xffshort", "no length": "no length",
		"\x03" + strings.Repeat("x", 1000): "\x03" + strings.Repeat("x", 254),
	} {
		near, far := tcpPair(t)
		_, _ = far.Write(append(greeting(0), appendCommand(nil, cmdError, []byte(data))...))
		_, err := Connect(t.Context(), near, Config{Type: Push})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("ERROR with %.20q: got %v", data, err)
		}
	}
}

func TestLongReasonsAreCutBetweenCharacters(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", 255), strings.Repeat("x", 300), strings.Repeat("ä", 200), "x" + strings.Repeat("€", 100), strings.Repeat("\xff", 300)} {
		got := parseError(reasonBytes(text))
		if len(got) > maxReason || !strings.HasPrefix(text, got) || len(text) > maxReason && len(got) < maxReason-3 {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
		if strings.ToValidUTF8(text, "") == text && strings.ToValidUTF8(got, "") != got {
			t.Errorf("%.10q was cut inside a character", text)
		}
	}
}

func TestContextEndsAHandshake(t *testing.T) {
	near, _ := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := Connect(ctx, near, Config{Type: Push}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the connection was left open: %v", err)
	}
}

func TestOwnPropertiesAreChecked(t *testing.T) {
	for _, c := range []struct {
		props Properties
		want  error
	}{
		{Properties{"raid-x": strings.Repeat("x", 1000)}, raid.ErrTooLarge},
		{Properties{"a": strings.Repeat("x", 150), "b": strings.Repeat("x", 150)}, raid.ErrTooLarge},
		{Properties{"": "x"}, raid.ErrInvalid},
		{Properties{"Upper": "x"}, raid.ErrInvalid},
		{Properties{"a b": "x"}, raid.ErrInvalid},
	} {
		near, _ := tcpPair(t)
		if _, err := Connect(t.Context(), near, Config{Type: Push, Properties: c.props}); !errors.Is(err, c.want) {
			t.Errorf("%.40v: %v", c.props, err)
		}
		near, far := tcpPair(t)
		_, _ = near.Write(hello())
		_ = near.(*net.TCPConn).CloseWrite()
		admit := func(Peer) (Properties, error) { return c.props, nil }
		if _, err := Accept(t.Context(), far, Config{Type: Pull, Admit: admit}); !errors.Is(err, c.want) {
			t.Errorf("from Admit, %.40v: %v", c.props, err)
		}
	}
	near, _ := tcpPair(t)
	if _, err := Connect(t.Context(), near, Config{Type: "REQ"}); !errors.Is(err, raid.ErrInvalid) {
		t.Errorf("a REQ socket: %v", err)
	}
}

func TestFullPropertiesSurviveTheHandshake(t *testing.T) {
	near, far := tcpPair(t)
	props := Properties{"raid-x": strings.Repeat("\x00\xff", 120)}
	push, pull := shake(t, near, far, Config{Type: Push, Properties: props}, Config{Type: Pull, Properties: props})
	for _, c := range []*Conn{push, pull} {
		if got := c.Peer().Properties; len(got) != 1 || got["raid-x"] != props["raid-x"] {
			t.Errorf("got %q", got)
		}
	}
}
