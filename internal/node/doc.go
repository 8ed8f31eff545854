// Package node is the composition root of raid-node. It opens the disk, builds
// the chunk store and the link to the controller, and answers the controller's
// requests.
//
// # Start
//
// The disk comes first, since without it there is no node. A disk that is not
// the remembered one ends [Run] with chunkstore.ErrDisk. Then comes the store,
// which counts its chunks and reads their trailers in the background. From there
// on the node is ready; the controller may be away for as long as it likes.
//
// # Identity
//
// Two things on its disks decide whom the node connects to. They are the identity
// in the state directory (package identity) and the marker on the chunk directory.
// A node that has joined speaks TLS with its array's controller and nothing else.
// One that has not joined speaks with nobody, unless plaintext is allowed. An
// identity that is damaged, a copy's or another disk's is no reason to end. The
// node stays up without a connection, and status and log say what to do.
//
// A session is a store and a link under one identity. Joining, leaving and
// resetting happen between two sessions, when nothing is connected and no store is
// open. The disk may get another id or array then. A new key needs no new session;
// the next connection uses it. The daemon does all of it, told over the control
// socket ([Remote]), because it holds the disk.
//
// Each step is durable before the next one begins. Joining: new id of a blank
// disk, key, the controller's yes, the disk's array, the controller's address,
// the identity. Leaving: the controller's yes, new id, no identity. A node that
// dies in between does the same again, with the same key and without a second use
// of the token.
//
// # End
//
// A part ends before those that it depends on. The link comes first, so that no
// request is taken any more and those under way are over. Then comes the store,
// which saves its commit number. The disk is last; its lock lets the next node in.
//
// # Memory
//
// Payloads, of Stores and of answers to Gets, come from one pool of bufferBudget
// bytes. A request that finds it empty waits. A single part that is larger than
// the pool passes when nothing else is in it. The rest of the process is small.
// service.LimitMemory says how eagerly used memory is given back.
package node
