package admission

import (
	"errors"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func ptr[T any](v T) *T { return &v }

func TestNodesAreNamedAndPlacedByPeople(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-1")
	if err := p.Change(t.Context(), n.id, raid.NodeChange{Zone: ptr("attic"), Name: ptr("upstairs")}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if p.Name(n.id) != "upstairs" || p.book.zones[n.id] != "attic" || !p.IsMember(n.id) {
			t.Errorf("%q in %q, member %v", p.Name(n.id), p.book.zones[n.id], p.IsMember(n.id))
		}
		p.restart(t)
	}
	writes := p.book.written()
	for name, c := range map[string]struct {
		id   raid.NodeID
		to   raid.NodeChange
		want error
	}{
		"a long zone":    {n.id, raid.NodeChange{Zone: ptr(strings.Repeat("x", 65))}, raid.ErrInvalid},
		"a broken zone":  {n.id, raid.NodeChange{Zone: ptr("\xff")}, raid.ErrInvalid},
		"a strange name": {n.id, raid.NodeChange{Name: ptr("a\x1b[2J")}, raid.ErrInvalid},
		"a long name":    {n.id, raid.NodeChange{Name: ptr(strings.Repeat("x", 256))}, raid.ErrInvalid},
		"no disk":        {n.id, raid.NodeChange{Disk: ptr(int64(0))}, raid.ErrInvalid},
		"nobody":         {"nobody", raid.NodeChange{Zone: ptr("x")}, raid.ErrNotFound},
	} {
		if err := p.Change(t.Context(), c.id, c.to); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p.book.written() > writes+1 {
		t.Error("what can't be was written")
	}
}

func TestATokenPutsWhoJoinsIntoAZone(t *testing.T) {
	p := newPlace(t)
	token, info, err := p.CreateToken(1, hour, "", "attic")
	if err != nil || info.Zone != "attic" || p.Tokens()[0].Zone != "attic" {
		t.Fatalf("%+v, %v", info, err)
	}
	n := newPi(t, "pi-1")
	if _, err := p.join(t, false, n, token); err != nil {
		t.Fatal(err)
	}
	if p.book.zones[n.id] != "attic" {
		t.Errorf("it is in %q", p.book.zones[n.id])
	}
	if _, _, err := p.CreateToken(1, hour, "", "a\nb"); !errors.Is(err, raid.ErrInvalid) {
		t.Errorf("a strange zone: %v", err)
	}
}
