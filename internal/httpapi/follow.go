package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// maxFollowers bounds those who follow the events at once, and maxFollowing how many
	// of one token or address.
	maxFollowers, maxFollowing = 64, 8
	// aliveEvery is how often a follower that hears nothing is told that the
	// connection lives, at least.
	aliveEvery = 15 * time.Second
	// comeAgain is after how long, in milliseconds, a browser comes again.
	comeAgain = 3000
)

// followers counts those who follow the events. They stay for as long as they like, so
// they have no places that others wait for.
type followers struct {
	mu  sync.Mutex
	all int
	of  map[httpserver.Caller]int // by holder
}

// enter counts one more; leave must be called when it has gone.
func (f *followers) enter(c httpserver.Caller) (leave func(), err error) {
	who := c.Holder()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all >= maxFollowers || f.of[who] >= maxFollowing {
		return nil, &httpserver.Error{
			Status:  http.StatusServiceUnavailable,
			Message: fmt.Sprintf("too many follow the events already: %d may, and %d with one token or from one address; end some, or ask without follow", maxFollowers, maxFollowing),
			Header:  http.Header{"Retry-After": {"30"}},
		}
	}
	if f.of == nil {
		f.of = map[httpserver.Caller]int{}
	}
	f.all++
	f.of[who]++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.all--
		if f.of[who]--; f.of[who] == 0 {
			delete(f.of, who)
		}
	}), nil
}

// count is the number of followers.
func (f *followers) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

// followEvents sends events as they come, as server-sent events (WHATWG HTML, 9.2),
// until the follower leaves, its token is over, or the controller ends. A follower
// that takes nothing for Config.Stall is cut; it comes again with the last id that it
// has, and misses nothing. Nothing is kept for it meanwhile.
func (a *API) followEvents(x *exchange, q eventQuery) error {
	h := x.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx keeps them for itself
	if x.Request.Method == http.MethodHead {
		return nil
	}
	leave, err := a.followers.enter(httpserver.CallerOf(x.Request, x.token))
	if err != nil {
		return err
	}
	defer leave()
	changed := a.cfg.Events.Changed() // before the look, or one could be missed
	if q.begin {
		q.limit = maxEvents
	}
	all, err := a.firstEvents(x.Context(), q)
	if err != nil {
		return err
	}
	fmt.Fprintf(x, "retry: %d\n\n", comeAgain)
	alive := time.NewTicker(min(aliveEvery, max(a.cfg.Stall/2, time.Millisecond)))
	defer alive.Stop()
	for {
		for _, e := range all {
			if err := x.sendEvent(e); err != nil {
				return nil //nolint:nilerr // the follower has left
			}
			q.after = e.Seq
		}
		if len(all) == 0 {
			if x.Flush(); x.Failed() != nil {
				return nil
			}
			select {
			case <-changed:
			case <-alive.C:
				if _, err := x.Write([]byte(":\n\n")); err != nil {
					return nil //nolint:nilerr // the follower has left
				}
				continue
			case <-x.Context().Done():
				return nil
			case <-a.ending:
				_, _ = x.Write([]byte(": raid-controller ends; come again\n\n"))
				return nil
			}
		}
		changed = a.cfg.Events.Changed()
		all, err = a.cfg.Events.After(x.Context(), q.after, usualEvents)
		if errors.Is(err, raid.ErrShutdown) || x.Context().Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sendEvent writes one event.
func (x *exchange) sendEvent(e raid.Event) error {
	text, err := json.Marshal(e.Record())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(x, "id: %d\ndata: %s\n\n", e.Seq, text)
	return err
}
