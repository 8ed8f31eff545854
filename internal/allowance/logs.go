package allowance

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"
)

// LogRate bounds the lines about one peer with one text: 20 at once, and ten a minute.
var LogRate = Rate{Burst: 20, Every: 6 * time.Second}

// peerKeys are the attributes that tell the peer of a line, the one that counts first.
var peerKeys = []string{"node", "addr"}

// Logs passes on log records, but of those about one peer that say the same no more than
// LogRate allows. The next that is passed on has "not_logged", how many were not. What is
// about no peer is always passed on.
type Logs struct {
	next  slog.Handler
	limit *Limiter
	about [2]string // by peerKeys, of attributes of the logger
}

// NewLogs makes a handler in front of another one.
func NewLogs(next slog.Handler) *Logs { return &Logs{next: next, limit: NewLimiter(LogRate)} }

// Enabled implements slog.Handler.
func (l *Logs) Enabled(ctx context.Context, level slog.Level) bool { return l.next.Enabled(ctx, level) }

// Handle implements slog.Handler.
func (l *Logs) Handle(ctx context.Context, r slog.Record) error {
	about := l.about
	r.Attrs(func(a slog.Attr) bool {
		note(&about, a)
		return true
	})
	peer := about[0]
	if peer == "" {
		peer = about[1]
	}
	if peer == "" {
		return l.next.Handle(ctx, r)
	}
	refused, ok := l.limit.Take(peer + " " + r.Message)
	if !ok {
		return nil
	}
	if refused > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("not_logged", refused))
	}
	return l.next.Handle(ctx, r)
}

// note keeps what an attribute tells of the peer.
func note(about *[2]string, a slog.Attr) {
	i := slices.Index(peerKeys, a.Key)
	if i < 0 {
		return
	}
	text := a.Value.String()
	if a.Value.Kind() == slog.KindAny {
		text = fmt.Sprint(a.Value.Any())
	}
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host // another connection has another port
	}
	about[i] = text
}

// WithAttrs implements slog.Handler.
func (l *Logs) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.next = l.next.WithAttrs(attrs)
	for _, a := range attrs {
		note(&with.about, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (l *Logs) WithGroup(name string) slog.Handler {
	with := *l
	with.next = l.next.WithGroup(name)
	return &with
}
