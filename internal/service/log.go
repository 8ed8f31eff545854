package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// LogConfig says where the log goes and how it looks.
type LogConfig struct {
	Program  string       // for the journal
	Journal  bool         // Out is the journal's, which then gets structured events
	Out      io.Writer    // standard error; gets one Write for each event
	Level    slog.Leveler // from which level on; nil: info
	Terminal bool         // a person is watching Out
	Getenv   func(string) string
}

// NewLogger makes the daemon's logger.
func NewLogger(cfg LogConfig) *slog.Logger {
	if cfg.Level == nil {
		cfg.Level = slog.LevelInfo
	}
	text := newHandler(cfg.Out, cfg.Level, cfg.managed())
	if cfg.Journal {
		return slog.New(newJournalHandler(cfg.Program, cfg.Level, text))
	}
	return slog.New(text)
}

// managed tells whether a service manager reads the log.
func (cfg *LogConfig) managed() bool {
	if cfg.Terminal || cfg.Getenv == nil {
		return false
	}
	return cfg.Getenv("NOTIFY_SOCKET") != "" || cfg.Getenv("JOURNAL_STREAM") != ""
}

func parseLevel(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is no log level: use debug, info, warn or error", name)
}

// handler is slog's text handler, which quotes whatever could break a line. It writes a priority
// before each line when a service manager reads it.
type handler struct {
	slog.Handler // writes to the sink's buffer
	sink         *sink
}

// sink is shared by a handler and all that With and WithGroup made of it.
type sink struct {
	mu      sync.Mutex
	line    bytes.Buffer
	out     io.Writer
	managed bool
}

func newHandler(out io.Writer, level slog.Leveler, managed bool) slog.Handler {
	s := &sink{out: out, managed: managed}
	text := slog.NewTextHandler(&s.line, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		// journald keeps time and level by itself.
		if managed && len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}})
	return &handler{text, s}
}

// Handle writes one line.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	s := h.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line.Reset()
	if s.managed {
		s.line.WriteString(priority(r.Level))
	}
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := s.out.Write(s.line.Bytes())
	return err
}

// WithAttrs keeps the sink.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.sink}
}

// WithGroup keeps the sink.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.sink}
}

// priority is the syslog severity of a level, as sd-daemon(3) writes it.
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}
