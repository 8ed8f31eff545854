package httpapi

import (
	"context"
	"log/slog"
	"strings"
)

// quietErrors is where http.Server's own lines go. What a stranger can cause by
// the thousand, such as a handshake that fails, is for those who look for it.
type quietErrors struct{ slog.Handler }

// Handle implements slog.Handler.
func (q quietErrors) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http: TLS handshake error") {
		if r.Level = levelQuiet; !q.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return q.Handler.Handle(ctx, r)
}
