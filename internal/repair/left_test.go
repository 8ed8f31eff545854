package repair

import (
	"testing"
)

// What somebody wishes elsewhere is left from the moment he says so, and not only once a
// pass could not make it.
func TestWhatIsWishedElsewhereIsLeft(t *testing.T) {
	wished := amount{7, 700}
	r := &Repairer{cfg: Config{Wishes: []Wish{{}, {Left: func() (int64, int64) { return wished.parts, wished.bytes }}}}}
	r.progress.leave(ofFlawed, amount{1, 100})
	if p := r.Progress(); p.PartsLeft != 8 || p.BytesLeft != 800 {
		t.Errorf("%+v", p)
	}
	r.progress.leave(ofMoved, amount{3, 300}) // of the seven
	if p := r.Progress(); p.PartsLeft != 8 || p.BytesLeft != 800 {
		t.Errorf("with three that were tried in vain: %+v", p)
	}
	wished = amount{}
	r.progress.block(ofMoved, "add a node")
	if p := r.Progress(); p.PartsLeft != 4 || p.BytesLeft != 400 || p.BlockedBy != "add a node" {
		t.Errorf("with nothing else: %+v", p)
	}
}
