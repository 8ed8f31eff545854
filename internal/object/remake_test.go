package object

import (
	"testing"
	"testing/synctest"

	"github.com/raidpi/raidpi/internal/raid"
)

// A copy that was made in vain is deleted some time later: nothing that is made
// after it may have its name.
func TestEachCopyThatIsMadeAnewHasANameOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		f, err := b.put(content(1000), nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		b.store.cfg.Draw = func(int64) int64 { return 0 } // chance is no protection
		part, used := parts[0], map[int]bool{}
		for range 4 {
			c, err := b.store.Remake(b.ctx, f, part, part.Copies[0])
			if err != nil {
				t.Fatal(err)
			}
			// The upload may have sent, and thrown away, any of its own.
			if used[c.Attempt] || c.Attempt <= raid.UploadAttempts {
				t.Errorf("attempt %d after %v", c.Attempt, used)
			}
			used[c.Attempt] = true
		}
	})
}
