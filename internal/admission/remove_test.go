package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// On each port, and with a session that it saved.
func TestRemovedNodeIsCutAndRefused(t *testing.T) {
	p := newPlace(t)
	n, other := p.joined(t, "pi-2"), p.joined(t, "pi-3")
	node := n.identity(t)
	saved := func(c *tls.Config) *tls.Config {
		c.SessionTicketsDisabled = false
		c.ServerName = "controller"
		c.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		return c
	}
	clients := map[*tls.Config]*tls.Config{ // with the server's side
		node.ClientTLS(): p.member, node.PortTLS(): p.port, saved(node.ClientTLS()): p.member, saved(node.PortTLS()): p.port,
	}
	// If tickets were on by mistake, a resumed session is asked for its node too.
	careless := p.member.Clone()
	careless.SessionTicketsDisabled = false
	resuming := saved(node.ClientTLS())
	clients[resuming] = careless
	for client, server := range clients {
		for range 2 {
			s, _, sErr, cErr := meet(t, false, server, client)
			if sErr != nil || cErr != nil {
				t.Fatalf("%v, %v", sErr, cErr)
			}
			if s.DidResume && server != careless {
				t.Error("a session was resumed")
			}
		}
	}
	open := p.dialPort(t, node)
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{}); err != nil {
		t.Fatal(err)
	}
	if !p.wasCut(n.id) || p.IsMember(n.id) {
		t.Error("its connections were not cut, or it is still a member")
	}
	for client, server := range clients {
		_, _, sErr, cErr := meet(t, false, server, client)
		wants(t, "removed", sErr, identity.ErrRemoved, "sudo raid-node reset-identity")
		if cErr == nil {
			t.Error("the node was not told")
		}
	}
	// Its connection from before is worth nothing either.
	_, err := p.Identify(open)
	wants(t, "open connection", err, identity.ErrRemoved)
	_, err = p.Renew(t.Context(), open, newPi(t, "").prepare(t).CSR())
	wants(t, "open connection renews", err, raid.ErrGone)
	wants(t, "without TLS", p.MayBePlain(n.id), identity.ErrRemoved)
	if got, err := p.connect(t, other.identity(t).ClientTLS()); err != nil || got != other.id {
		t.Errorf("another node: %q, %v", got, err)
	}
	p.restart(t)
	_, err = p.connect(t, node.ClientTLS())
	wants(t, "after a restart", err, identity.ErrRemoved)
	_, err = p.join(t, false, n, p.token(t, 1, ""))
	wants(t, "it joins again", err, raid.ErrForbidden, "was removed")
}

func TestNodeWithCopiesIsRemovedByForceAlone(t *testing.T) {
	nodes := []raid.NodeInfo{}
	var told []raid.Event
	p := newPlace(t, func(c *Config) {
		c.Nodes = func() []raid.NodeInfo { return nodes }
		c.Tell = func(e raid.Event) { told = append(told, e) }
	})
	n := p.joined(t, "pi-2")
	p.book.rests[n.id] = raid.Leaving{Files: 120}
	err := p.Remove(t.Context(), n.id, raid.RemoveOrder{})
	wants(t, "all have copies", err, raid.ErrPrecondition, "Node pi-2 still has copies of 120 files", "each of them has a good copy on another node that is up", "add --force")
	for state, words := range map[raid.NodeState]string{raid.Up: "sudo raidctl node drain pi-2. ", raid.Draining: "They move to other nodes: wait", raid.Down: "on another node that is up. To remove"} {
		nodes = []raid.NodeInfo{{ID: n.id, Kind: raid.Native, State: state}}
		wants(t, string(state), p.Remove(t.Context(), n.id, raid.RemoveOrder{}), raid.ErrPrecondition, words, "add --force")
	}
	err = p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true, Lose: 3})
	wants(t, "a number that is not asked for", err, raid.ErrPrecondition, "No file would be lost", "not 3")
	if !p.IsMember(n.id) || p.book.member(n.id).Removed || len(p.cuts) != 1 {
		t.Error("it was removed all the same")
	}
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true}); err != nil || p.IsMember(n.id) {
		t.Errorf("by force: %v", err)
	}
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{}); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := p.Remove(t.Context(), p.joined(t, "pi-3").id, raid.RemoveOrder{}); err != nil {
		t.Errorf("one without copies: %v", err)
	}
	told = slices.DeleteFunc(told, func(e raid.Event) bool { return e.Kind != raid.NodeRemoved })
	if len(told) < 2 || !strings.HasSuffix(told[0].Text, "for good: what it held is made again on other nodes") || !strings.HasSuffix(told[len(told)-1].Text, "for good; no file had a copy on it") {
		t.Errorf("told: %+v", told)
	}
}

// What is in the trash can be put back, as was promised: it is no word's cost.
func TestForceAloneLosesWhatIsInTheTrash(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	for _, c := range []struct {
		rests raid.Leaving
		words []string
	}{
		{raid.Leaving{Trash: 1}, []string{"still has copies of 1 deleted file that can be put back", "add --force"}},
		{raid.Leaving{Files: 2, Trash: 3}, []string{"still has copies of 2 files and 3 deleted files"}},
		{raid.Leaving{Trash: 7, TrashLost: 4}, []string{"up to 4 deleted files could not be put back any more", "Wait until they are repaired", "raidctl trash empty", "add --force"}},
		{raid.Leaving{Files: 1, Lost: 1, Trash: 7, TrashLost: 4}, []string{"1 file would be LOST", "Up to 4 deleted files could not be put back any more either", "--lose 1"}},
	} {
		p.book.rests[n.id] = c.rests
		wants(t, fmt.Sprintf("%+v", c.rests), p.Remove(t.Context(), n.id, raid.RemoveOrder{}), raid.ErrPrecondition, c.words...)
	}
	drained := raid.Relocation{Draining: true, Drained: true, Replaced: true}
	p.book.rests[n.id] = raid.Leaving{Relocation: drained, Trash: 1}
	wants(t, "by itself", p.Remove(t.Context(), n.id, raid.RemoveOrder{Replaced: true}), raid.ErrPrecondition, "1 deleted file")
	p.book.rests[n.id] = raid.Leaving{Trash: 7, TrashLost: 4}
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true}); err != nil || p.IsMember(n.id) {
		t.Errorf("by force: %v", err)
	}
}

// A node that another one replaced leaves by itself. A person who has it stay may come in
// between, until the last moment.
func TestANodeThatIsNotReplacedAnyMoreStays(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	drained := raid.Relocation{Draining: true, Drained: true, Replaced: true}
	for _, r := range []raid.Relocation{{}, {Draining: true, Drained: true}, {Draining: true, Replaced: true}, {Drained: true, Replaced: true}} {
		p.book.rests[n.id] = raid.Leaving{Relocation: r}
		wants(t, fmt.Sprintf("%+v", r), p.Remove(t.Context(), n.id, raid.RemoveOrder{Replaced: true}), raid.ErrPrecondition, "Node pi-2 stays")
	}
	p.book.rests[n.id] = raid.Leaving{Relocation: drained, Files: 1}
	wants(t, "a file rests on it", p.Remove(t.Context(), n.id, raid.RemoveOrder{Replaced: true}), raid.ErrPrecondition, "still has copies")
	if !p.IsMember(n.id) {
		t.Error("it was removed all the same")
	}
	p.book.rests[n.id] = raid.Leaving{Relocation: drained}
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Replaced: true}); err != nil || p.IsMember(n.id) {
		t.Errorf("replaced: %v", err)
	}
}

// The number is that of this moment, and it is the controller that compares.
func TestForceLosesOnlyAsManyFilesAsWereNamed(t *testing.T) {
	nodes := []raid.NodeInfo{}
	p := newPlace(t, func(c *Config) { c.Nodes = func() []raid.NodeInfo { return nodes } })
	n, other := p.joined(t, "pi-2"), p.joined(t, "pi-3")
	p.book.rests[n.id], p.book.other[n.id] = raid.Leaving{Files: 120, Lost: 20}, other.id
	for _, state := range []raid.NodeState{raid.Down, raid.Suspect, raid.Draining} {
		nodes = []raid.NodeInfo{{ID: n.id, Kind: raid.Native, State: raid.Up}, {ID: other.id, Name: "pi-3", Kind: raid.Native, State: state}}
		for _, order := range []raid.RemoveOrder{{}, {Force: true}, {Force: true, Lose: 19}, {Force: true, Lose: 21}, {Lose: 20}} {
			err := p.Remove(t.Context(), n.id, order)
			wants(t, "some have none", err, raid.ErrPrecondition, "With node pi-2 20 files would be LOST", "Not up now: pi-3", "--force --lose 20")
			var loss *raid.LossError
			if !errors.As(err, &loss) || loss.Files != 20 {
				t.Errorf("%+v: %v", order, err)
			}
		}
	}
	err := p.Leave(t.Context(), p.dialPort(t, n.identity(t)), raid.RemoveOrder{Force: true})
	wants(t, "it leaves", err, raid.ErrPrecondition, "20 files would be LOST")
	nodes[1].State = raid.Up
	wants(t, "the other is back", p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true, Lose: 20}), raid.ErrPrecondition, "No file would be lost", "not 20")
	nodes[1].Kind = raid.Lab
	wants(t, "a lab node", p.Remove(t.Context(), n.id, raid.RemoveOrder{}), raid.ErrPrecondition, "20 files would be LOST")
	p.book.rests[n.id] = raid.Leaving{Files: 1, Lost: 1, AtMost: true}
	wants(t, "not exactly known", p.Remove(t.Context(), n.id, raid.RemoveOrder{}), raid.ErrPrecondition, "up to 1 file would be LOST")
	p.book.rests[n.id] = raid.Leaving{Partial: true}
	wants(t, "not known yet", p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true}), raid.ErrPrecondition, "still counts", "Try again")
	p.book.rests[n.id] = raid.Leaving{Files: 120, Lost: 20}
	if !p.IsMember(n.id) || p.book.member(n.id).Removed {
		t.Error("it was removed all the same")
	}
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true, Lose: 20}); err != nil || p.IsMember(n.id) {
		t.Errorf("with the right number: %v", err)
	}
}

// A node that hangs passes for being up for a moment. It is not counted on before it
// has been heard of again.
func TestARemovalWaitsForASignOfLifeOfTheOthers(t *testing.T) {
	for _, answers := range []bool{false, true} {
		var p *place
		var n, other *pi
		hung := time.Now()
		p = newPlace(t, func(c *Config) {
			c.Nodes = func() []raid.NodeInfo {
				if n == nil {
					return nil
				}
				silent := time.Since(hung)
				if answers && silent > time.Second {
					silent = time.Millisecond
				}
				return []raid.NodeInfo{{ID: n.id, Kind: raid.Native, State: raid.Down}, {ID: other.id, Name: "pi-3", Kind: raid.Native, State: raid.Up, Silent: silent}}
			}
		})
		n, other = p.joined(t, "pi-2"), p.joined(t, "pi-3")
		p.book.rests[n.id], p.book.other[n.id] = raid.Leaving{Files: 120, Lost: 20}, other.id
		hung = time.Now()
		err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true})
		if answers && err != nil {
			t.Errorf("it answers: %v", err)
		}
		if !answers {
			wants(t, "it does not answer", err, raid.ErrPrecondition, "20 files would be LOST", "Not up now: pi-3")
		}
	}
}

func TestNodeLeaves(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	wants(t, "without a certificate", p.Leave(t.Context(), tls.ConnectionState{}, raid.RemoveOrder{Force: true}), raid.ErrUnauthorized)
	cs := p.dialPort(t, n.identity(t))
	if err := p.Leave(t.Context(), cs, raid.RemoveOrder{}); err != nil {
		t.Fatal(err)
	}
	if !p.book.member(n.id).Removed || !p.wasCut(n.id) {
		t.Error("it is still there")
	}
	wants(t, "again", p.Leave(t.Context(), cs, raid.RemoveOrder{}), raid.ErrGone)
}

func TestAnyNodeCanBeRemoved(t *testing.T) {
	p := newPlace(t)
	plain := newPi(t, "").id // has been here without joining
	p.book.nodes[plain] = true
	if err := p.Remove(t.Context(), plain, raid.RemoveOrder{}); err != nil || !p.wasCut(plain) {
		t.Errorf("one that never joined: %v", err)
	}
	wants(t, "it comes back", p.MayBePlain(plain), identity.ErrRemoved)
	wants(t, "unknown", p.Remove(t.Context(), newPi(t, "").id, raid.RemoveOrder{}), raid.ErrNotFound)
	for _, id := range []raid.NodeID{"", "pi-2", "lab-10.0.0.1", raid.NodeID(strings.Repeat("z", 22))} {
		wants(t, string(id), p.Remove(t.Context(), id, raid.RemoveOrder{Force: true}), raid.ErrNotFound)
	}
}

// The mark is durable and what comes after it failed: then it is removed.
func TestRemovalThatFailedHalfWayHolds(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	ctx, cancel := context.WithCancel(t.Context())
	p.book.before = func(string) { cancel() } // and who asked has hung up
	p.book.half = raid.ErrNoSpace
	err := p.Remove(ctx, n.id, raid.RemoveOrder{Force: true})
	if !errors.Is(err, raid.ErrNoSpace) || p.IsMember(n.id) || !p.wasCut(n.id) {
		t.Errorf("%v; member: %v", err, p.IsMember(n.id))
	}
	n = p.joined(t, "pi-3")
	p.book.failWith(raid.ErrNoSpace)
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true}); !errors.Is(err, raid.ErrNoSpace) || !p.IsMember(n.id) {
		t.Errorf("before the mark: %v; member: %v", err, p.IsMember(n.id))
	}
}

// Whoever is cut first would be back before it is refused.
func TestRemovalIsWrittenBeforeTheNodeIsCut(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi")
	p.cuts = nil
	cut := p.Registrar.cfg.Cut
	p.Registrar.cfg.Cut = func(id raid.NodeID, why error) {
		if !p.book.member(id).Removed {
			t.Error("it is cut before that it was removed is written")
		}
		if err := p.CheckKey(id, identity.Pin{}); !errors.Is(err, identity.ErrRemoved) {
			t.Errorf("it is cut before it is refused: %v", err)
		}
		cut(id, why)
	}
	if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true}); err != nil || !p.wasCut(n.id) {
		t.Error(err)
	}
}
