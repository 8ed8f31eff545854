package object

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Each node of a bubble has 1 TiB free.
func TestFileLargerThanTheRoomIsRefusedUnread(t *testing.T) {
	for nodes, room := range map[int]int64{1: 1 << 39, 2: 1 << 40, 3: 3 << 39} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, nodes)
			defer b.close()
			for _, size := range []int64{-1, 0, 1, room} {
				if err := b.store.CheckRoom(size); err != nil {
					t.Errorf("%d nodes, %d bytes: %v", nodes, size, err)
				}
			}
			if err := b.store.CheckRoom(room + 1); !errors.Is(err, raid.ErrArrayFull) {
				t.Errorf("%d nodes, one byte more than the room: %v", nodes, err)
			}
		})
	}
}

// While a node that is away may come back with its room, nothing is refused.
func TestRoomIsNotJudgedWhileNodesMayComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		if _, err := b.put(content(1000), nil); err != nil { // so that both are known
			t.Fatal(err)
		}
		b.nodes[1].cut()
		time.Sleep(time.Second)
		if err := b.store.CheckRoom(1 << 40); err != nil {
			t.Errorf("a node has just gone: %v", err)
		}
		time.Sleep(time.Minute)
		if err := b.store.CheckRoom(1 << 40); !errors.Is(err, raid.ErrArrayFull) {
			t.Errorf("it stays away: %v", err)
		}
	})
}
