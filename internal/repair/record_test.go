package repair

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// reader says what was found when a copy was read, and notes what was made anew.
type reader struct {
	found  error
	remade []raid.Copy
	full   bool // only the node of the bad copy has room
}

func (r *reader) Check(context.Context, raid.File, raid.Part, raid.Copy) error { return r.found }

func (r *reader) Rereplicate(_ context.Context, _ raid.File, _ raid.Part, m raid.Move) (raid.Copy, error) {
	r.remade = append(r.remade, m.Old)
	if r.full && !m.Old.Bad {
		return raid.Copy{}, raid.ErrArrayFull
	}
	return raid.Copy{Index: m.Old.Index, Attempt: 900, Node: "another"}, nil
}

// accused is a Repairer and a node that says of each of its copies that it is good.
func accused(t *testing.T) (*cleaner, *reader, raid.File, raid.Part) {
	c := newCleaner(t, wire.Heartbeat{Scanned: true, HighestCommit: lastKnown})
	m := &reader{}
	c.repair.cfg.Maker = m
	key := newKey(t)
	return c, m, raid.File{ID: 1, Upload: key.Upload}, raid.Part{Number: 1, Copies: []raid.Copy{
		{Index: 1, Attempt: 1, Node: c.node, Bad: true}, {Index: 2, Attempt: 2, Node: "b"},
	}}
}

func TestOnlyBytesThatWereReadClearACopy(t *testing.T) {
	for name, found := range map[string]error{
		"they are right": nil, "they are wrong": raid.ErrCorrupt, "there are none": raid.ErrNotFound,
		"nobody knows": raid.ErrPeerGone, "nobody knows yet": raid.ErrExpired,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m, f, p := accused(t)
				defer c.stop()
				m.found = found
				got, err := c.repair.repairCopy(t.Context(), f, p, raid.Move{Old: p.Copies[0]})
				switch want := p.Copies[0]; {
				case found == nil:
					if want.Bad = false; err != nil || got != want || len(m.remade) > 0 {
						t.Errorf("%+v, %v, made %v anew", got, err, m.remade)
					}
				case errors.Is(found, raid.ErrCorrupt), errors.Is(found, raid.ErrNotFound):
					if err != nil || got.Node != "another" || len(m.remade) != 1 {
						t.Errorf("%+v, %v, made %v anew", got, err, m.remade)
					}
				default:
					if !errors.Is(err, errLater) || len(m.remade) > 0 {
						t.Errorf("%+v, %v, made %v anew", got, err, m.remade)
					}
				}
			})
		})
	}
}

// It sends right bytes to who checks, and wrong ones to others.
func TestACopyIsClearedOnceAndANodeInVainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m, f, p := accused(t)
		defer c.stop()
		copyNo := func(stripe int64) (raid.Copy, error) {
			p.Stripe = stripe
			return c.repair.repairCopy(t.Context(), f, p, raid.Move{Old: p.Copies[0]})
		}
		for stripe := range int64(3) {
			if got, err := copyNo(stripe); err != nil || got.Node != c.node || got.Bad {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		// Called bad again, the first is made anew, and elsewhere.
		if got, err := copyNo(0); err != nil || got.Node != "another" || len(m.remade) != 1 || m.remade[0].Bad {
			t.Fatalf("%+v, %v, made %v anew", got, err, m.remade)
		}
		if got, err := copyNo(7); err != nil || got.Node != c.node {
			t.Fatalf("once in vain is chance: %+v, %v", got, err)
		}
		if _, err := copyNo(1); err != nil || len(m.remade) != 2 {
			t.Fatalf("%v, made %v anew", err, m.remade)
		}
		// From now on it clears nothing.
		m.full = true
		if got, err := copyNo(8); err != nil || got.Node != "another" || len(m.remade) != 4 || !m.remade[3].Bad {
			t.Errorf("%+v, %v, made %v anew", got, err, m.remade)
		}
		if n := c.members.Nodes()[0]; n.Problem == "" {
			t.Error("nobody is told")
		}
	})
}
