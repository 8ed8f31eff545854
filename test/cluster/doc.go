// Package cluster runs a real array as real processes on loopback: one raid-controller and some
// raid-nodes. It is for the end-to-end tests, the demo and the benchmark.
//
// # Types
//
//   - [Cluster] is the array: its daemons, its folders and its REST interface.
//   - [Daemon] is one process that can be killed, frozen, thawed and started again.
//   - [API] speaks REST to the array with net/http alone. It is written from the
//     documented interface and shares no code with raidctl. So a test compares two independent readings of it.
//   - [Content] is a reproducible stream of bytes with a known SHA-256.
//
// # Layout
//
// Everything lies in one folder. controller/ and node1/, node2/, … are the daemons' state
// directories, and node1/chunks is the first node's chunk directory. conf/ has their configuration,
// and logs/ what they wrote to stderr.
//
// # Caveats
//
// Close ends the processes that this package started, by their pids, and no
// others. On Linux they also end when their parent dies. Ports are chosen by
// trying, and another program can take one in between. Start notices that its
// controller ended and tries again with other ports.
package cluster
