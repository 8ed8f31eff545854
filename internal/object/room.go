package object

import (
	"fmt"
	"slices"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// CheckRoom tells whether a file of a size could have room, before any of it is
// read. It returns raid.ErrArrayFull when the nodes that are up can't take it however it is
// placed. While nodes may still come, are too few, or don't tell what they have, as
// lab nodes don't, it lets Upload decide.
func (s *Store) CheckRoom(size int64) error {
	nodes := s.cfg.Nodes.Candidates()
	if s.cfg.Nodes.StaleCatalog() != nil || s.cfg.Nodes.WarmUp() > 0 || s.cfg.Nodes.ReconnectGrace() > 0 ||
		len(nodes) == 0 || len(nodes) < s.apart() && !s.degrades() ||
		slices.ContainsFunc(nodes, func(c placement.Candidate) bool { return c.Lab }) {
		return nil
	}
	cost := s.costOf(1, 0)
	room := cost.Most(nodes)
	if s.cfg.Trash != nil && size > room {
		room += s.cfg.Trash.Makes()
	}
	if size > room {
		if why := s.Full(); why != "" {
			return fmt.Errorf("%w: %s", raid.ErrArrayFull, why)
		}
		return fmt.Errorf("%w: the file has %d bytes, and the %d nodes that are up have room for %d; add nodes, or delete files",
			raid.ErrArrayFull, size, len(nodes), room)
	}
	return nil
}
