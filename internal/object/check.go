package object

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// checkTimeout bounds the time that a node may take for each MiB of a copy that is checked.
const checkTimeout = 15 * time.Second

// Check reads a whole copy from its node and compares every byte with the catalog. It
// asks for one piece after the other, so a node that serves others is hardly slowed.
// nil: the copy is good. raid.ErrCorrupt and raid.ErrNotFound: it is not. Other errors
// say nothing of it.
func (s *Store) Check(ctx context.Context, f raid.File, part raid.Part, c raid.Copy) error {
	peer, ok := s.cfg.Nodes.Peer(c.Node)
	if !ok || peer.Lab() {
		return fmt.Errorf("check a copy on node %s: %w", c.Node, raid.ErrPeerGone)
	}
	return s.check(ctx, peer, part.Key(f.Upload, c).Name(), part)
}

func (s *Store) check(ctx context.Context, peer *membership.Peer, name raid.ChunkName, part raid.Part) error {
	return s.checkRange(ctx, peer, name, part, 0, part.Length)
}

// checkRange reads some bytes of a copy, from the beginning of a block on; of an empty
// part its trailer.
func (s *Store) checkRange(ctx context.Context, peer *membership.Peer, name raid.ChunkName, part raid.Part, from, to int64) error {
	buf := s.cfg.Healing.Get(int(min(to-from, maxPiece))) // Rereplicate holds a part: it must not wait for more
	defer buf.Release()
	for at := from; at == from || at < to; at += maxPiece {
		p := &piece{part: part, offset: at, length: min(maxPiece, to-at)}
		call, cancel := context.WithTimeout(ctx, checkTimeout)
		_, err := getChecked(call, peer, name, p, buf.Bytes()[:p.length])
		cancel()
		if err != nil {
			return fmt.Errorf("check a copy: %w", err)
		}
	}
	return nil
}

// faithless remembers nodes that acknowledged a copy and did not have it right
// afterwards. They get no more copies of repair before their next session.
type faithless struct {
	mu   sync.Mutex
	node map[raid.NodeID]raid.SessionID
}

// maxFaithless bounds what is remembered: far more nodes than an array has.
const maxFaithless = 1000

func (f *faithless) add(p *membership.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.node == nil || len(f.node) >= maxFaithless {
		f.node = map[raid.NodeID]raid.SessionID{}
	}
	f.node[p.ID()] = p.Session()
}

func (s *Store) isFaithless(id raid.NodeID) bool {
	s.faithless.mu.Lock()
	session, noted := s.faithless.node[id]
	s.faithless.mu.Unlock()
	if !noted {
		return false
	}
	p, ok := s.cfg.Nodes.Peer(id)
	return ok && p.Session() == session
}
