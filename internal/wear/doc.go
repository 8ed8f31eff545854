// Package wear counts what is written to a node's disk. It asks the kernel how worn the
// disk is and whether the machine is hot or short of power.
//
// # What is counted
//
// Where the folder lies on a disk that the kernel names, all that the machine writes to
// that disk counts. That includes the log of the system, which wears the card as well. Where
// the kernel names none, as in a container, its count for the node's own control group
// is taken. Else nothing is counted, and that is said.
//
// Beside it stand the bytes of chunks that were stored, so that it shows what each costs.
//
// # Days
//
// A Pi has no clock at its start, so days are of the node's own running time. Neither
// what is written while the node is off nor that time is counted. So what is written in a
// day is right all the same.
//
// # The record
//
// One small file keeps the counts over restarts. It is replaced at most once an hour, just
// after chunks were stored, and at an orderly end if any were. So an idle node writes
// nothing. What was counted since then is lost with the power.
package wear
