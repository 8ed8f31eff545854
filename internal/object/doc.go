// Package object stores files and reads them back: it is the only place where stripes, placement,
// nodes and the catalog meet.
//
// # Upload
//
// A body is read into stripes, each stripe is cut into parts, each part is sent to as many distinct
// nodes as there are copies, and the catalog learns of the file when every copy is acknowledged.
// Reading runs ahead of sending by a few stripes. A copy whose node fails, hangs or refuses is
// placed on another node under a new name. What may lie under the old name is recorded for removal
// in the transaction that makes the file, or that abandons it. The last stripe is held back until
// the body's length and digest and everything else that the client may have asked for is known to
// be right.
//
// # Download
//
// A [Reader] fetches pieces of at most 1 MiB ahead of its consumer, each from a random copy of its
// part. An error means the other copy at once. Silence means the other copy after a delay that
// follows the node's own recent latency. That is so for at most one read in twenty, unless the node
// sends nothing to anybody. Every piece is checked against the block checksums that came with it,
// and those against the length and CRC-32C that the catalog has for the part. When all copies are
// rotten, each block is taken from whichever copy has it.
//
// # Memory
//
// Every request is granted one stripe (upload) or one piece (download) and takes more only from a
// shared pool. So memory is bounded by the number of requests in flight and never by the size of a
// file.
package object
