// Package raid is the vocabulary of raidpi. It has the words that code, logs, REST and
// documents share, as types. It also has the sentinel errors that cross package borders.
//
// It imports the standard library alone and does no I/O.
//
// # Words
//
//   - array: one controller and its nodes.
//   - file: what a client uploads. Its identity for clients is a [FileID].
//   - upload: one attempt to make a file. Its identity on disk is an [UploadID],
//     128 bits of which the first 32 are the controller's run number.
//   - stripe: a fixed-length slice of a file; the last may be shorter, an empty
//     file has one empty stripe.
//   - part: a stripe cut by the RAID level. RAID 1 cuts two halves, the first
//     one byte longer when the length is odd.
//   - copy: one of the stored instances of a part.
//   - chunk: one copy on one node, under a [ChunkName] that no other chunk ever
//     has. A copy that is placed again is a new chunk: its attempt differs.
//   - catalog: the controller's database of files and of the chunks that make them.
//   - session: one life of a node process; all its connections carry its id.
//   - native peer: one of ours. Lab peer: a plain libzmq program written from the
//     assignment that raidpi began as.
package raid
