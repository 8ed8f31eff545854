// Package verify knows when nodes last read their chunks, tells them how often they are
// to, and has the bad chunks replaced that they find.
//
// # Bad chunks
//
// A node's heartbeat says how many of its chunks are corrupt. Their names are asked for,
// and no name is believed. The catalog must count that copy on that node as good, and
// the controller reads its bytes itself. Only what then proves wrong is marked bad, and
// repair does the rest. A node that calls whole chunks corrupt is asked slowly, and after
// some of them no more in that session.
//
// # Last verified
//
// A node's chunks were all right, or were found not to be, when its last whole pass
// began. The catalog keeps that with one write for each pass. A chunk that is younger was
// checked when it was stored. Times of day are for people; nothing is decided by them.
package verify
