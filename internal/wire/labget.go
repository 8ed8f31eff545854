package wire

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// labGet is one outstanding broadcast. labs.mu guards what changes.
type labGet struct {
	name   raid.ChunkName
	dst    []byte
	accept func([]byte) bool
	frame  []byte // the request as it is sent

	asked   time.Time    // when it was last sent
	filler  *zmtp.Conn   // the connection whose reader has dst; nil: none
	missed  bool         // an answer was thrown away while another one was filling dst
	refused []*zmtp.Conn // whose refused answers hid another one: not listened to
	done    chan bool    // receives true once accepted; has room for it
	idle    chan struct{}
}

// maxRefused bounds the connections that may stand in the way of a good answer. With more, a Get is
// not sent anew any more.
const maxRefused = 16

// LabGet asks all lab peers that subscribed for a chunk of size bytes. It fills dst, of that
// length, with the first answer that accept agrees to. accept is called from a reader's goroutine.
// A peer that subscribes meanwhile is asked too.
//
// It fails with raid.ErrNotFound when no byte has come from any lab peer for LabGetTimeout, and
// when ctx ends. While peers keep answering other requests only ctx bounds it. dst is not touched
// after the return.
func (h *Hub) LabGet(ctx context.Context, name raid.ChunkName, size int64, dst []byte, accept func([]byte) bool) error {
	if int64(len(dst)) != size || size > h.cfg.MaxFrame {
		return fmt.Errorf("get lab chunk %s: %w: %d bytes into a buffer of %d", name, raid.ErrInvalid, size, len(dst))
	}
	frame, err := proto.Marshal(&wirepb.GetdataRequest{Filename: string(name)})
	if err != nil {
		return fmt.Errorf("get lab chunk: %w: %v", raid.ErrInvalid, err)
	}
	g := &labGet{name: name, dst: dst, accept: accept, frame: frame, asked: time.Now(), done: make(chan bool, 1)}
	h.labs.ask(g)
	err = h.labs.await(ctx, g)
	if err != nil {
		err = fmt.Errorf("get lab chunk %s: %w", name, err)
	}
	return err
}

// ask enters the request and sends it to every subscriber.
func (l *labs) ask(g *labGet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gets[g.name] = append(l.gets[g.name], g)
	l.broadcast(g)
}

// broadcast sends g to every subscriber. l.mu is held.
func (l *labs) broadcast(g *labGet) {
	g.asked = time.Now()
	for s := range l.subs {
		s.offer(g.frame)
	}
}

// await waits for g's end.
func (l *labs) await(ctx context.Context, g *labGet) error {
	timer := time.NewTimer(l.cfg.LabGetTimeout)
	defer timer.Stop()
	for {
		select {
		case <-g.done:
			return nil
		case <-ctx.Done():
			return l.giveUp(g, contextError(ctx, "wait for a lab peer's answer"))
		case <-timer.C:
			l.mu.Lock()
			quiet := l.quiet(g.asked)
			l.mu.Unlock()
			if quiet >= l.cfg.LabGetTimeout {
				return l.giveUp(g, fmt.Errorf("no lab peer answered for %v: %w", l.cfg.LabGetTimeout, raid.ErrNotFound))
			}
			timer.Reset(l.cfg.LabGetTimeout - quiet)
		}
	}
}

// giveUp takes g out of the table. If its destination is being filled, that is
// awaited, or the end of the connection that does so, which is closed when its
// bytes stop. An answer that was there all the same counts.
func (l *labs) giveUp(g *labGet, why error) error {
	l.mu.Lock()
	l.remove(g)
	filler := g.filler
	if filler != nil {
		g.idle = make(chan struct{})
	}
	l.mu.Unlock()
	if filler != nil {
		l.awaitFiller(g, filler)
	}
	select {
	case <-g.done:
		return nil
	default:
		return why
	}
}

func (l *labs) awaitFiller(g *labGet, filler *zmtp.Conn) {
	timer := time.NewTimer(l.cfg.LabGetTimeout)
	defer timer.Stop()
	for {
		select {
		case <-g.idle:
			return
		case <-timer.C:
			silent := filler.SilentFor()
			if silent >= l.cfg.LabGetTimeout {
				filler.CloseWith(fmt.Errorf("read lab answer: it stopped in the middle of chunk %s", g.name))
				<-g.idle
				return
			}
			timer.Reset(l.cfg.LabGetTimeout - silent)
		}
	}
}

// remove takes g out of the table. l.mu is held.
func (l *labs) remove(g *labGet) {
	rest := slices.DeleteFunc(l.gets[g.name], func(o *labGet) bool { return o == g })
	if len(rest) == 0 {
		delete(l.gets, g.name)
		return
	}
	l.gets[g.name] = rest
}

// claim finds a Get that an answer of this size on this connection may fill.
// l.mu is held.
func (l *labs) claim(from *zmtp.Conn, name raid.ChunkName, size int64) *labGet {
	for _, g := range l.gets[name] {
		if int64(len(g.dst)) != size || slices.Contains(g.refused, from) {
			continue
		}
		if g.filler == nil {
			return g
		}
		g.missed = true
	}
	return nil
}

// filled is told that g's filler is done with its destination.
func (l *labs) filled(g *labGet, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := g.filler
	g.filler = nil
	if accepted {
		l.remove(g)
		g.done <- true
	} else if g.missed && len(g.refused) < maxRefused && g.idle == nil {
		g.missed = false
		g.refused = append(g.refused, from)
		l.broadcast(g)
	}
	if g.idle != nil {
		close(g.idle)
	}
}
