package httpapi

import (
	"container/heap"
	"container/list"
	"net/netip"
)

// crowds are the spare connections, by address, in the order in which they have
// to go: of the address that has most of them the one that is spare for longest,
// and of several such addresses from that whose is. Each change costs the
// logarithm of how many addresses there are.
type crowds struct {
	byAddr map[netip.Addr]*crowd
	heap   crowdHeap
	turn   uint64 // the last one that was given out
}

// crowd is the spare connections of one address; there is at least one.
type crowd struct {
	from   netip.Addr
	guests list.List // of *guest, who is spare for longest first
	index  int       // in the heap
}

func (c *crowd) oldest() *guest { return c.guests.Front().Value.(*guest) }

// add makes a connection a spare one, the last of its address to go.
func (c *crowds) add(g *guest) {
	c.turn++
	g.since = c.turn
	in := c.byAddr[g.from]
	if in != nil {
		g.place = in.guests.PushBack(g)
		heap.Fix(&c.heap, in.index)
		return
	}
	if c.byAddr == nil {
		c.byAddr = map[netip.Addr]*crowd{}
	}
	in = &crowd{from: g.from}
	g.place = in.guests.PushBack(g)
	c.byAddr[g.from] = in
	heap.Push(&c.heap, in)
}

// remove makes a connection one that stays, if it was spare.
func (c *crowds) remove(g *guest) {
	if g.place == nil {
		return
	}
	in := c.byAddr[g.from]
	in.guests.Remove(g.place)
	g.place = nil
	if in.guests.Len() > 0 {
		heap.Fix(&c.heap, in.index)
		return
	}
	heap.Remove(&c.heap, in.index) // which compares all but this one
	delete(c.byAddr, g.from)
}

// first is who has to go first, nil when nobody is spare.
func (c *crowds) first() *guest {
	if len(c.heap) == 0 {
		return nil
	}
	return c.heap[0].oldest()
}

// crowdHeap implements heap.Interface.
type crowdHeap []*crowd

func (h crowdHeap) Len() int { return len(h) }

func (h crowdHeap) Less(i, j int) bool {
	if a, b := h[i].guests.Len(), h[j].guests.Len(); a != b {
		return a > b
	}
	return h[i].oldest().since < h[j].oldest().since
}

func (h crowdHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *crowdHeap) Push(x any) {
	in := x.(*crowd)
	in.index = len(*h)
	*h = append(*h, in)
}

// Pop implements heap.Interface.
func (h *crowdHeap) Pop() any {
	old := *h
	in := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return in
}
