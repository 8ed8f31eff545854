package wire

import (
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// ScrubHandler does what a native controller wants of a node's scrub. Its methods must
// not wait.
type ScrubHandler interface {
	// Order is called with the first heartbeat of a session, and when the order changes.
	Order(raid.ScrubOrder)
	// Start has a pass begin now, if none is under way.
	Start()
	// Bad returns the names after the given one, at most limit, of chunks that are
	// corrupt, in order.
	Bad(after raid.ChunkName, limit int) (names []raid.ChunkName, more bool)
}

var errNoScrub = fmt.Errorf("this node has no scrub: %w", raid.ErrUnsupported)

func (s *linkSession) startScrub() error {
	h := s.link.cfg.Scrub
	if h == nil {
		return errNoScrub
	}
	h.Start()
	return nil
}

func (s *linkSession) bad(req ListRequest) (*wirepb.Response_List, error) {
	h := s.link.cfg.Scrub
	if h == nil {
		return nil, errNoScrub
	}
	var list wirepb.ListResult
	list.Names, list.More = fitting(h.Bad(req.After, req.Limit))
	return &wirepb.Response_List{List: &list}, nil
}

// longest bounds what peers say of times: a hundred years.
const longest = 100 * 365 * 24 * time.Hour

// seconds reads a time from the wire.
func seconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(longest/time.Second))) * time.Second
}

// inSeconds writes a time for the wire; one that is negative as 0.
func inSeconds(d time.Duration) uint64 { return uint64(max(d, 0) / time.Second) }

func encodeOrder(o *raid.ScrubOrder) *wirepb.ScrubOrder {
	if o == nil {
		return nil
	}
	return &wirepb.ScrubOrder{EverySeconds: inSeconds(o.Every), Paused: o.Paused, KeepBadSeconds: inSeconds(o.Keep)}
}

var scrubStates = map[raid.ScrubState]wirepb.Scrub_State{
	raid.ScrubRunning: wirepb.Scrub_RUNNING, raid.ScrubPaused: wirepb.Scrub_PAUSED, raid.ScrubWaiting: wirepb.Scrub_WAITING,
}

func encodeScrub(p raid.Scrub) *wirepb.Scrub {
	state, known := scrubStates[p.State]
	if !known {
		return nil
	}
	n := func(v int64) uint64 { return uint64(max(v, 0)) }
	out := &wirepb.Scrub{
		State: state, Pass: n(p.Pass), Chunks: n(p.Chunks), Bytes: n(p.Bytes), OfChunks: n(p.OfChunks), OfBytes: n(p.OfBytes), Bad: n(p.Bad),
		BytesPerSecond: n(p.BytesPerSecond), NextSeconds: inSeconds(p.Next), ReadBytes: n(p.Read),
	}
	if p.Left >= 0 {
		out.SecondsLeft = inSeconds(p.Left) + 1
	}
	if l := p.Last; l.Number > 0 {
		out.Last = &wirepb.ScrubPass{
			Number: n(l.Number), BeganSeconds: inSeconds(l.Began), EndedSeconds: inSeconds(l.Ended), BeganAt: n(l.BeganAt),
			Chunks: n(l.Chunks), Bytes: n(l.Bytes), Bad: n(l.Bad),
		}
	}
	return out
}

// mostCounted bounds the numbers that a node says of its scrub. Sums of those of many
// nodes can't overflow.
const mostCounted = 1 << 53

// decodeScrub reads what a node says of its scrub; numbers are cut to what can be.
func decodeScrub(pb *wirepb.Scrub) (p raid.Scrub) {
	for state, on := range scrubStates {
		if on == pb.GetState() {
			p.State = state
		}
	}
	if p.State == "" {
		return p
	}
	cut := func(v uint64) int64 { return int64(min(v, mostCounted)) }
	p.Pass, p.Chunks, p.Bytes, p.Bad, p.Read = cut(pb.Pass), cut(pb.Chunks), cut(pb.Bytes), cut(pb.Bad), cut(pb.ReadBytes)
	p.OfChunks, p.OfBytes, p.BytesPerSecond = cut(pb.OfChunks), cut(pb.OfBytes), cut(pb.BytesPerSecond)
	p.Next, p.Left = seconds(pb.NextSeconds), -1
	if pb.SecondsLeft > 0 {
		p.Left = seconds(pb.SecondsLeft - 1)
	}
	if l := pb.GetLast(); l.GetNumber() > 0 {
		p.Last = raid.ScrubPass{
			Number: cut(l.Number), Began: seconds(l.BeganSeconds), Ended: min(seconds(l.EndedSeconds), seconds(l.BeganSeconds)), BeganAt: cut(l.BeganAt),
			Chunks: cut(l.Chunks), Bytes: cut(l.Bytes), Bad: cut(l.Bad),
		}
	}
	return p
}
