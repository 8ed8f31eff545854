package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
)

// errTokenOver ends the requests that were let in by a token which is over.
var errTokenOver = errors.New("the token that let this request in is over")

// expiryRound is how often tokens that have an end are asked whether they are over,
// while requests with them are under way.
const expiryRound = time.Second

// endingTime bounds the wait of whoever revokes a token for its requests to
// end, after their connections were cut.
const endingTime = 5 * time.Second

// bearers are the requests under way that a token let in, by the token's id. When
// the token is over, they end: a transfer may take hours.
type bearers struct {
	over func(id string) (over, ends bool) // of a token: whether it is over, and whether it ends by time

	mu    sync.Mutex
	of    map[string]map[*bearer]struct{}
	armed bool // round will be called
}

// bearerKey is the key of what a request's context has for end.
type bearerKey struct{}

// bearer is a request under way.
type bearer struct {
	token string
	cut   func()        // ends it
	done  chan struct{} // closed when it has ended
}

// enter notes a request that a token has let in, and returns it as it goes on.
// leave must be called when it has ended. ok is false when the token is over
// by now.
func (b *bearers) enter(r *http.Request, token string) (bound *http.Request, leave func(), ok bool) {
	ctx, cancel := context.WithCancelCause(r.Context())
	me := &bearer{token: token, done: make(chan struct{}), cut: func() {
		cancel(errTokenOver)
		httpserver.ResetConnection(r)
	}}
	leave = func() {
		b.leave(me)
		cancel(nil)
	}
	b.mu.Lock()
	if b.of == nil {
		b.of = map[string]map[*bearer]struct{}{}
	}
	if b.of[token] == nil {
		b.of[token] = map[*bearer]struct{}{}
	}
	b.of[token][me] = struct{}{}
	b.mu.Unlock()
	// Only now, or it could be revoked between the look and the note.
	over, ends := b.over(token)
	if over {
		leave()
		return r, func() {}, false
	}
	if ends {
		b.arm()
	}
	return r.WithContext(context.WithValue(ctx, bearerKey{}, me)), leave, true
}

func (b *bearers) leave(me *bearer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(me.done)
	if delete(b.of[me.token], me); len(b.of[me.token]) == 0 {
		delete(b.of, me.token)
	}
}

// arm has round called once.
func (b *bearers) arm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.armed {
		b.armed = true
		time.AfterFunc(expiryRound, b.round)
	}
}

// round ends the requests of tokens that are over, and goes on while there are
// requests whose tokens end by time.
func (b *bearers) round() {
	b.mu.Lock()
	b.armed = false
	ids := make([]string, 0, len(b.of))
	for id := range b.of {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	again := false
	for _, id := range ids {
		over, ends := b.over(id)
		if over {
			b.end(context.Background(), id)
		} else {
			again = again || ends
		}
	}
	if again {
		b.arm()
	}
}

// end cuts the requests of a token, but for the one that ctx is of, and returns
// them.
func (b *bearers) end(ctx context.Context, token string) (cut []*bearer) {
	self, _ := ctx.Value(bearerKey{}).(*bearer)
	b.mu.Lock()
	for r := range b.of[token] {
		if r != self {
			cut = append(cut, r)
		}
	}
	b.mu.Unlock()
	for _, r := range cut {
		r.cut()
	}
	return cut
}

// await returns when requests have ended, or ctx has, or endingTime is over.
func await(ctx context.Context, all []*bearer) {
	ctx, cancel := context.WithTimeout(ctx, endingTime)
	defer cancel()
	for _, r := range all {
		select {
		case <-r.done:
		case <-ctx.Done():
			return
		}
	}
}
