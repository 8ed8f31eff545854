// Package wire is raidpi's protocol between raid-controller and raid-node. It carries our messages,
// and the assignment's, over ZMTP connections. docs/wire.md specifies it byte by byte.
//
// # Types
//
//   - [Hub] is the controller's end: it serves the three ports and knows who is
//     connected.
//   - [Session] is one native node's set of four connections, from the moment
//     that all of them and a first heartbeat are there. Requests to the node are
//     its methods.
//   - [LabNode] is one PULL connection of a lab peer. [Hub.LabGet] asks all lab
//     peers at once, as the assignment does.
//   - [Link] is the node's end. It connects, reconnects, and hands requests to a
//     [Handler], or to a [LabHandler] when the controller is a lab controller.
//
// # Promises
//
//   - A request gets exactly one outcome. It is the node's answer, the end of
//     the session (raid.ErrPeerGone), or the end of its context (raid.ErrExpired
//     for a deadline). Errors of the node come back as the sentinels of package
//     raid.
//   - An answer counts only when a request with its id and its chunk name is
//     outstanding in the very session that it arrives on. Request ids are never
//     used twice in the life of a Hub. Every other answer is read and thrown
//     away.
//   - A slice handed in (a payload, a destination) is not touched after the call
//     has returned.
//   - Losing one connection of a session ends all of them.
//   - Unacknowledged bytes per node are bounded by a window that always admits
//     one part. So a slow node slows only those that talk to it.
//   - Payloads are not copied. They go from the caller's slice to the socket, and
//     from the socket into the slice of the Get that waits for them.
//
// # Caveats
//
//   - A Store whose context ends while its bytes are already being written
//     returns only when they are written or the connection is gone. A caller in a
//     hurry leaves the call to a goroutine or ends the session.
//   - The same holds for a Get into whose destination bytes are already arriving.
//   - After an error a Store may have happened all the same: nobody knows until
//     the node is asked.
//
// # Locks
//
// The order is Hub.mu, Session.mu, window.mu. The tables of the lab peers
// (labs.mu) and of a Link (Link.mu) are leaves: nothing is locked under them. No
// callback (Observer, Handler, accept) is called and no connection is written or
// read while one of them is held. Session.telling comes before all: it is held while
// the Observer is called about the session.
package wire
