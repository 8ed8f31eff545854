package httpapi

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// download serves GET and HEAD of a file's bytes.
func (a *API) download(x *exchange) error {
	id, err := parseID(x.id)
	if err != nil {
		return err
	}
	q, err := httpserver.ParseParams(x.Request)
	if err != nil {
		return err
	}
	f, err := a.cfg.Index.File(x.Context(), id)
	if err != nil {
		return err
	}
	who := httpserver.CallerOf(x.Request, x.token)
	return x.ServeContent(httpserver.Content{
		Name: f.Filename, Type: f.ContentType, Size: f.Size, SHA256: f.SHA256, Modified: lastModified(&f), Attach: q.Has("download"),
		Enter: func(ctx context.Context) (func(), error) { return a.transfers.Enter(ctx, who) },
		Open:  func(ctx context.Context) (io.ReadSeekCloser, error) { return a.cfg.Files.Open(ctx, f) },
	})
}

// parseID reads the {id} of a path. What can't be an id names no file.
func parseID(s string) (raid.FileID, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 || s[0] == '+' {
		return 0, httpserver.Errorf(http.StatusNotFound, "there is no file %q: ids are whole numbers from 1 to 9223372036854775807", httpserver.Clip(s))
	}
	return raid.FileID(id), nil
}
