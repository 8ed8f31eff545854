// Package node is the composition root of raid-node: it opens the disk, builds
// the chunk store and the link to the controller, and answers what the
// controller asks.
//
// # Start
//
// The disk comes first, since without it there is no node: a disk that is not
// the remembered one ends [Run] with chunkstore.ErrDisk. Then the store, which
// counts its chunks and reads their trailers in the background. From there on the
// node is ready; the controller may be away for as long as it likes.
//
// # End
//
// What depends ends before what it depends on: first the link, so that no
// request is taken any more and those under way are over; then the store, which
// saves its commit number; last the disk, whose lock lets the next node in.
//
// # Memory
//
// Payloads, of Stores and of answers to Gets, come from one pool of bufferBudget
// bytes; who finds it empty waits. A single part that is larger than the pool
// passes when nothing else is in it. The rest of the process is small: see
// service.LimitMemory for how eagerly what was used is given back.
package node
