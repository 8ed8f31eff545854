// Package wear counts what is written to a node's disk, and asks the kernel how worn the
// disk is and whether the machine is hot or short of power.
//
// # What is counted
//
// Where the folder lies on a disk that the kernel names, all that the machine writes to
// that disk counts: the log of the system too, as it wears the card as well. Where it
// names none, as in a container, it is what the kernel counts for the node's own control
// group. Else nothing is counted, and that is said.
//
// Beside it stand the bytes of chunks that were stored, so that it shows what each costs.
//
// # Days
//
// A Pi has no clock at its start, so days are of the node's own running time. What is
// written while the node is off is not counted, and that time is not either: so what is
// written in a day is right all the same.
//
// # The record
//
// One small file keeps the counts over restarts. It is replaced at most once an hour, just
// after chunks were stored, and at an orderly end if any were: an idle node writes nothing.
// What was counted since then is lost with the power.
package wear
