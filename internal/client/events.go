package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/url"
	"strconv"

	"github.com/raidpi/raidpi/internal/raid"
)

// Event is something that happened to the array.
type Event struct {
	Seq    int64          `json:"seq"` // rising, with gaps
	At     string         `json:"at"`  // UTC, YYYY-MM-DD HH:MM:SS, by the controller's clock
	Kind   raid.EventKind `json:"kind"`
	Node   raid.NodeID    `json:"node"`   // empty: none
	File   *raid.FileID   `json:"file"`   // nil: none
	Text   string         `json:"text"`   // what happened
	Advice string         `json:"advice"` // what to do about it; empty: nothing
}

// eventPage is the number of events that are asked for at once.
const eventPage = 1000

// LastEvents are the newest events, up to limit (1 to 1000), the oldest first.
func (c *Client) LastEvents(ctx context.Context, limit int) ([]Event, error) {
	return c.events(ctx, url.Values{"limit": {strconv.Itoa(limit)}})
}

// Events yields all events after a number, in order, a page at a time, until the first
// error.
func (c *Client) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			page, err := c.events(ctx, url.Values{"limit": {strconv.Itoa(eventPage)}, "after": {strconv.FormatInt(after, 10)}})
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range page {
				if after = e.Seq; !yield(e, nil) {
					return
				}
			}
			if len(page) < eventPage {
				return
			}
		}
	}
}

func (c *Client) events(ctx context.Context, query url.Values) ([]Event, error) {
	var answer struct {
		Events []Event `json:"events"`
	}
	err := c.get(ctx, "/events", query, &answer)
	return answer.Events, err
}

// errUnheard ends a follow whose events nobody wants any more.
var errUnheard = errors.New("nobody listens")

// FollowEvents calls heard for each event after a number, as they happen. It goes on over lost
// connections and restarts of the controller. It returns heard's error, the context's, or why the
// controller refuses. lost, unless nil, is told each time that the connection is lost, and why.
func (c *Client) FollowEvents(ctx context.Context, after int64, heard func(Event) error, lost func(error)) error {
	for attempt := 1; ; attempt++ {
		var failed error // heard's
		err := c.exchange(ctx, "GET", "/events", url.Values{"follow": {"1"}, "after": {strconv.FormatInt(after, 10)}}, func(body io.Reader) error {
			return readEvents(body, func(e Event) error {
				attempt, after = 0, e.Seq
				if failed = heard(e); failed != nil {
					return errUnheard
				}
				return nil
			})
		})
		switch {
		case failed != nil:
			return failed
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !isTemporary(err):
			return err
		}
		if err != nil && lost != nil {
			lost(err)
		}
		if err := pause(ctx, max(attempt, 1), err); err != nil {
			return err
		}
	}
}

// isTemporary tells errors that end while somebody waits: a controller that is restarted,
// a network that is away.
func isTemporary(err error) bool {
	var unreachable *UnreachableError
	return passing(err) || errors.As(err, &unreachable) || errors.Is(err, ErrStalled)
}

// maxEventLine bounds a line of the stream, in bytes.
const maxEventLine = 64 << 10

// readEvents reads server-sent events (WHATWG HTML, 9.2): of the lines of an event,
// those with data make its JSON. Its end, at whatever place, is no error.
func readEvents(body io.Reader, heard func(Event) error) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4<<10), maxEventLine)
	var data []byte
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		switch {
		case len(lines.Bytes()) == 0 && len(data) > 0:
			var e Event
			if err := notOurs(json.Unmarshal(data, &e)); err != nil {
				return err
			}
			if data = data[:0]; e.Seq > 0 {
				if err := heard(e); err != nil {
					return err
				}
			}
		case string(name) == "data" && len(data)+len(value) <= maxEventLine:
			data = append(data, value...)
		}
	}
	return lines.Err()
}
