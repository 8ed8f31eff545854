// Package scrub reads all chunks of a node now and then. So rot is found before the last good copy
// is gone.
//
// # A pass
//
// A pass reads every chunk in the order of names and compares it with the checksums of
// its trailer. The rot that it finds is in the chunk store's list of corrupt chunks, from
// where the controller asks for it. A pass is due when the node has run for so long since
// the last one began. No clock is asked for the time of day. When passes take longer than
// that, one follows the other.
//
// # Requests come first
//
// The reading goroutine has a thread of its own, at idle I/O priority. Many disks' I/O
// schedulers don't know that, so a [pace] gives way as well. While requests come, it
// works for a twentieth of the time, in small pieces.
//
// # The record
//
// One small file says how far a pass is. It is replaced at most every few minutes, and
// only while there is something new in it. So an idle node writes nothing. A node that is
// cut off reads again what the record does not know of. The end of a pass is written at once.
//
// A life that ended without a word has an unknown length, and counts for an eighth of the
// time between passes. So a Pi whose plug is pulled each night gets through as well.
package scrub
