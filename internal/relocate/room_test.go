package relocate

import (
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestTheRestHasRoomForWhatADrainMoves(t *testing.T) {
	hold := func(bytes int64, on ...raid.NodeID) raid.Holding {
		return raid.Holding{Nodes: on, Parts: 1, Bytes: bytes}
	}
	for name, c := range map[string]struct {
		free        map[raid.NodeID]int64
		held        []raid.Holding
		holds, fits int64
	}{
		"enough":                          {map[raid.NodeID]int64{"b": 50, "c": 50}, []raid.Holding{hold(40, "a", "b"), hold(30, "c", "a"), hold(9, "b", "c")}, 70, 70},
		"too little in all":               {map[raid.NodeID]int64{"b": 50, "c": 50, "d": 10}, []raid.Holding{hold(100, "a")}, 100, 100},
		"less than it holds":              {map[raid.NodeID]int64{"b": 50, "c": 40}, []raid.Holding{hold(100, "a")}, 100, 90},
		"room where the other copies are": {map[raid.NodeID]int64{"b": 500, "c": 10}, []raid.Holding{hold(40, "a", "b")}, 40, 10},
		"both where they fit":             {map[raid.NodeID]int64{"b": 40, "c": 40}, []raid.Holding{hold(40, "a"), hold(40, "a", "b")}, 80, 80},
		"nothing":                         {map[raid.NodeID]int64{"b": 1}, nil, 0, 0},
	} {
		nodes := []Node{{ID: "a", Free: 1 << 40, Takes: true}, {ID: "z", Free: 1 << 40}, {ID: "y", Free: 1 << 40, Takes: true, Drains: true}}
		for id, free := range c.free {
			nodes = append(nodes, Node{ID: id, Free: free, Takes: true})
		}
		if holds, fits := Room(nodes, c.held, 0, "a"); holds != c.holds || fits != c.fits {
			t.Errorf("%s: it holds %d, of which %d fit; want %d and %d", name, holds, fits, c.holds, c.fits)
		}
	}
}
