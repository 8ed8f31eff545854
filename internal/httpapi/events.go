package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// Events has what happened to the array.
type Events interface {
	// After returns up to limit events with numbers above after, in order.
	After(ctx context.Context, after int64, limit int) ([]raid.Event, error)
	// Last returns the newest events, up to limit, the oldest first.
	Last(ctx context.Context, limit int) ([]raid.Event, error)
	// Changed returns a channel that is closed at the next event.
	Changed() <-chan struct{}
}

const (
	// usualEvents is the number of events in an answer to who asks for no other.
	usualEvents = 100
	// maxEvents bounds those in one.
	maxEvents = 1000
)

// eventQuery is which events somebody wants to see.
type eventQuery struct {
	after  int64
	begin  bool // after counts; otherwise the newest ones are wanted
	limit  int
	follow bool // and those that come
}

// events serves GET /events.
func (a *API) events(x *exchange) error {
	q, err := readEventQuery(x.Request)
	if err != nil {
		return err
	}
	if a.cfg.Events == nil {
		return httpserver.Errorf(http.StatusNotFound, "this controller keeps no events")
	}
	if q.follow {
		return a.followEvents(x, q)
	}
	if x.Request.Method == http.MethodHead {
		x.BeginJSON()
		return nil
	}
	release, err := a.listings.Enter(x.Context(), httpserver.CallerOf(x.Request, x.token))
	if err != nil {
		return err
	}
	defer release()
	all, err := a.firstEvents(x.Context(), q)
	if err != nil {
		return err
	}
	list := make([]raid.EventRecord, len(all))
	for i, e := range all {
		list[i] = e.Record()
	}
	return x.SendJSON(http.StatusOK, struct {
		Events []raid.EventRecord `json:"events"`
	}{list})
}

// firstEvents are those that an answer begins with.
func (a *API) firstEvents(ctx context.Context, q eventQuery) ([]raid.Event, error) {
	if q.begin {
		return a.cfg.Events.After(ctx, q.after, q.limit)
	}
	return a.cfg.Events.Last(ctx, q.limit)
}

// readEventQuery reads after, limit and follow. Who comes again, as browsers do by
// themselves, says after which event: Last-Event-ID of server-sent events.
func readEventQuery(r *http.Request) (q eventQuery, err error) {
	values, err := httpserver.ParseParams(r)
	if err != nil {
		return q, err
	}
	const most = 1<<63 - 1
	if q.after, err = values.Number("after", 0, most); err != nil {
		return q, err
	}
	limit, err := values.Number("limit", 1, maxEvents)
	if err != nil {
		return q, err
	}
	follow, err := values.Number("follow", 0, 1)
	if err != nil {
		return q, err
	}
	q.begin, q.limit, q.follow = values.Has("after"), int(limit), follow == 1
	if limit == 0 {
		q.limit = usualEvents
	}
	if last := r.Header.Get("Last-Event-Id"); q.follow && last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			return q, httpserver.BadRequest("Last-Event-ID is %q; it must be the id of an event", httpserver.Clip(last))
		}
		q.after, q.begin = n, true
	}
	return q, nil
}
