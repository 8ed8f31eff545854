package httpserver

import (
	"container/heap"
	"container/list"
	"net/netip"
)

// evictor has the connections that may be evicted, by address, in the order in which they have
// to go: of the address that has most of them the one that has waited for longest,
// and of several such addresses from that whose is. Each change costs the
// logarithm of how many addresses there are.
type evictor struct {
	byAddr map[netip.Addr]*addressGroup
	heap   groupHeap
	turn   uint64 // the last one that was given out
}

// addressGroup has those of one address; there is at least one.
type addressGroup struct {
	from  netip.Addr
	conns list.List // of *tracked, who has waited for longest first
	index int       // in the heap
}

func (c *addressGroup) oldest() *tracked { return c.conns.Front().Value.(*tracked) }

// add lets a connection be evicted, the last of its address to go.
func (c *evictor) add(g *tracked) {
	c.turn++
	g.since = c.turn
	in := c.byAddr[g.from]
	if in != nil {
		g.position = in.conns.PushBack(g)
		heap.Fix(&c.heap, in.index)
		return
	}
	if c.byAddr == nil {
		c.byAddr = map[netip.Addr]*addressGroup{}
	}
	in = &addressGroup{from: g.from}
	g.position = in.conns.PushBack(g)
	c.byAddr[g.from] = in
	heap.Push(&c.heap, in)
}

// remove keeps a connection from being evicted.
func (c *evictor) remove(g *tracked) {
	if g.position == nil {
		return
	}
	in := c.byAddr[g.from]
	in.conns.Remove(g.position)
	g.position = nil
	if in.conns.Len() > 0 {
		heap.Fix(&c.heap, in.index)
		return
	}
	heap.Remove(&c.heap, in.index) // which compares all but this one
	delete(c.byAddr, g.from)
}

// first is who has to go first, nil when nobody may be evicted.
func (c *evictor) first() *tracked {
	if len(c.heap) == 0 {
		return nil
	}
	return c.heap[0].oldest()
}

// crowdHeap implements heap.Interface.
type groupHeap []*addressGroup

func (h groupHeap) Len() int { return len(h) }

func (h groupHeap) Less(i, j int) bool {
	if a, b := h[i].conns.Len(), h[j].conns.Len(); a != b {
		return a > b
	}
	return h[i].oldest().since < h[j].oldest().since
}

func (h groupHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *groupHeap) Push(x any) {
	in := x.(*addressGroup)
	in.index = len(*h)
	*h = append(*h, in)
}

// Pop implements heap.Interface.
func (h *groupHeap) Pop() any {
	old := *h
	in := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return in
}
