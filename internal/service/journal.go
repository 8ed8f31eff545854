package service

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
)

// fieldPrefix begins the names of our fields in the journal, so that none of them means something
// to systemd. journalctl RAID_NODE=… finds all of a node.
const fieldPrefix = "RAID_"

// journalHandler writes events to journald's own socket (systemd.journal-fields(7)). Each attribute
// is a field of its own, which can be searched for. It stands in the message too, for people.
type journalHandler struct {
	program string
	level   slog.Leveler
	send    func(message string, priority journal.Priority, fields map[string]string) error
	instead slog.Handler // gets what the journal does not take

	fields map[string]string // of With
	groups string            // joined by _, with one at the end
	text   *journalText
}

// journalText writes attributes as slog does. It is shared by a handler and all
// that With and WithGroup made of it.
type journalText struct {
	slog.Handler
	mu   *sync.Mutex
	line *bytes.Buffer
}

func newJournalHandler(program string, level slog.Leveler, instead slog.Handler) *journalHandler {
	line := &bytes.Buffer{}
	text := slog.NewTextHandler(line, &slog.HandlerOptions{Level: slog.LevelDebug - 100, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	return &journalHandler{program: program, level: level, send: journal.Send, instead: instead, text: &journalText{text, &sync.Mutex{}, line}}
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler. What the journal does not take is written as text.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	fields := make(map[string]string, len(h.fields)+r.NumAttrs()+1)
	for k, v := range h.fields {
		fields[k] = v
	}
	fields["SYSLOG_IDENTIFIER"] = h.program
	r.Attrs(func(a slog.Attr) bool {
		addFields(fields, h.groups, a)
		return true
	})
	message := r.Message
	if attrs := h.text.write(ctx, r); attrs != "" {
		message += " " + attrs
	}
	if err := h.send(message, journalPriority(r.Level), fields); err != nil {
		return h.instead.Handle(ctx, r)
	}
	return nil
}

// write returns a record's attributes as text.
func (t *journalText) write(ctx context.Context, r slog.Record) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line.Reset()
	if err := t.Handler.Handle(ctx, r); err != nil {
		return ""
	}
	return strings.TrimSpace(t.line.String())
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.fields = make(map[string]string, len(h.fields)+len(attrs))
	for k, v := range h.fields {
		c.fields[k] = v
	}
	for _, a := range attrs {
		addFields(c.fields, h.groups, a)
	}
	c.text, c.instead = h.text.with(h.text.WithAttrs(attrs)), h.instead.WithAttrs(attrs)
	return &c
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	c := *h
	if name != "" {
		c.groups += fieldName(name) + "_"
	}
	c.text, c.instead = h.text.with(h.text.WithGroup(name)), h.instead.WithGroup(name)
	return &c
}

func (t *journalText) with(h slog.Handler) *journalText { return &journalText{h, t.mu, t.line} }

// addFields makes fields of an attribute: a group's have its name before theirs.
func addFields(fields map[string]string, groups string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			groups += fieldName(a.Key) + "_"
		}
		for _, inner := range v.Group() {
			addFields(fields, groups, inner)
		}
		return
	}
	if name := fieldName(a.Key); name != "" {
		fields[fieldPrefix+groups+name] = fmt.Sprint(v.Any())
	}
}

// fieldName writes a key in the letters that a field's name may have.
func fieldName(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_':
			return r
		}
		return '_'
	}, key)
}

func journalPriority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
