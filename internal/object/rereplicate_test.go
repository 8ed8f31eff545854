package object

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
			c, err := b.store.Rereplicate(b.ctx, f, part, raid.Move{Old: part.Copies[0]})
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

// A node that takes no writes any more is left for another one.
func TestACopyMadeAnewGoesElsewhereWhenItsNodeHangs(t *testing.T) {
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
		part := parts[0]
		old := part.Copies[0] // it is to be moved: there is one node for it
		for _, n := range b.nodes {
			if _, has := n.chunks[part.Key(f.Upload, part.Copies[1]).Name()]; !has {
				n.hangDisk()
			}
		}
		began := time.Now()
		c, err := b.store.Rereplicate(b.ctx, f, part, raid.Move{Old: old})
		if !errors.Is(err, raid.ErrTooFewNodes) || errors.Is(err, raid.ErrExpired) || c.Node == "" {
			t.Errorf("%+v, %v", c, err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Repair has other things to do than to wait for a node that may come back.
func TestACopyIsNotMadeAnewFromNodesThatAreAway(t *testing.T) {
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
		for _, n := range b.nodes {
			if len(n.chunks) > 0 {
				n.cut()
			}
		}
		time.Sleep(time.Second)
		began := time.Now()
		_, err = b.store.Rereplicate(b.ctx, f, parts[0], raid.Move{Old: parts[0].Copies[0]})
		if took := time.Since(began); !errors.Is(err, raid.ErrTooFewNodes) || took > 0 {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A node that says that time is over, and it is not, is not taken for the one that the
// part was read from.
func TestANodeThatTakesNoCopyIsNotTakenForTheOneThatIsRead(t *testing.T) {
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
		for _, n := range b.nodes {
			n.refuses.Store(true)
		}
		c, err := b.store.Rereplicate(b.ctx, f, parts[0], raid.Move{Old: parts[0].Copies[0]})
		if !errors.Is(err, raid.ErrTooFewNodes) || errors.Is(err, raid.ErrExpired) || c.Node == "" {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
