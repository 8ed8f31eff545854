// Package events keeps what happened to the array, for people.
//
// A [Log] takes note of an event at once, in memory, and gives it a number. It is on
// disk with the next transaction of whatever kind, or a minute later; grave ones are
// written at once. So an idle array writes nothing, as nothing happens to it.
//
// # Bounds
//
// Of each kind so many events about one node are kept, and so many in all. More are counted, and
// told later in one event. A node that comes and goes all the time, or a stranger, so does not
// displace what matters. While the disk takes no writes, the newest events are in memory. When it
// does again, the number of lost ones is told.
//
// # Caveats
//
//   - What was not written when the process is killed is lost. Its numbers are not
//     used again.
//   - Numbers rise with time, but for gaps. The time of day does not: it may be set.
package events
