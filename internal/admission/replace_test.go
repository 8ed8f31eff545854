package admission

import (
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestATokenToReplaceANodeIsForAnotherOneAndEndsWithTheNext(t *testing.T) {
	p := newPlace(t)
	old, other := p.joined(t, "pi-1"), p.joined(t, "pi-2")
	first, _, err := p.CreateReplacement(hour, old.id)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, _, err := p.CreateReplacement(hour, other.id)
	if err != nil {
		t.Fatal(err)
	}
	token, info, err := p.CreateReplacement(hour, old.id)
	if err != nil || info.Replaces != old.id || info.Uses != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	_, err = p.join(t, false, newPi(t, "pi-3"), first)
	wants(t, "the line before", err, raid.ErrUnauthorized, "not known")
	_, err = p.join(t, false, old, token)
	wants(t, "the node itself", err, raid.ErrForbidden, "this is that node itself")
	n := newPi(t, "pi-4")
	if _, err := p.join(t, false, n, token); err != nil {
		t.Fatal(err)
	}
	if use := p.book.last; use.Replaces != old.id || use.Token != token.ID() {
		t.Errorf("the book was told %+v", use)
	}
	_, err = p.join(t, false, newPi(t, "pi-5"), token)
	wants(t, "once more", err, raid.ErrUnauthorized)
	p.RevokeReplacements(other.id)
	_, err = p.join(t, false, newPi(t, "pi-5"), elsewhere)
	wants(t, "taken back", err, raid.ErrUnauthorized, "not known")
	if _, _, err := p.CreateReplacement(time.Second, old.id); err == nil {
		t.Error("a token for a second is made")
	}
}
