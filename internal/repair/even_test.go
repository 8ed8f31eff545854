package repair

import (
	"fmt"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// An array whose nodes can't be made even has all its copies: nothing blocks its healing. What is
// to leave a node that drains does.
func TestAMoveForBalanceWithoutRoomBlocksNoHealing(t *testing.T) {
	for name, c := range map[string]struct {
		even bool
		err  error
		left int64
	}{
		"balance, no room": {true, raid.ErrArrayFull, 0},
		"balance, no word": {true, raid.ErrBusy, 1},
		"drain, no room":   {false, raid.ErrArrayFull, 1},
	} {
		part := raid.Part{Number: 1, Length: 10, Copies: []raid.Copy{{Index: 1, Attempt: 1, Node: "a"}, {Index: 2, Attempt: 2, Node: "b"}}}
		move := raid.Move{Old: part.Copies[0], Wished: true, Even: c.even}
		r := mender(&failing{}, func() (raid.Copy, error) { return raid.Copy{}, fmt.Errorf("made by hand: %w", c.err) })
		r.cfg.Wishes = []Wish{{
			Pick:  func(*raid.Part) (raid.Move, bool) { return move, true },
			Begin: func(*raid.Part) (raid.Move, func(raid.Copy, bool), bool) { return move, func(raid.Copy, bool) {}, true },
		}}
		tally := newTally()
		if _, err := r.scanTask(t.Context(), "a", task{repair: raid.Repair{File: 1, Part: part}, tally: tally}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		blocked := r.blockedBy(tally)
		if got := tally.left().parts; got != c.left || tally.isUneven() != (c.left == 0) || (blocked != "") == c.even {
			t.Errorf("%s: %d parts are left, and blocked by %q", name, got, blocked)
		}
	}
}
