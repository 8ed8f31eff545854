// Package chunkstore keeps chunks on one disk: it writes them durably, reads
// them back verified, lists and deletes them.
//
// # Types
//
// A [Disk] is a chunk directory whose marker says which node and array it
// belongs to; [OpenDisk] checks it and locks it. A [Store] keeps the chunks in
// it. Both reach the disk through [FS] alone, which is one os.Root. So no name
// that anybody sends can lead out of the directory. [Dir] is the real one;
// package faultfs has one that fails and forgets.
//
// # On disk
//
//	Rs/RsZ5t…          a chunk: payload, trailer record, footer (see footer.go)
//	lab/Ab/Abc…        a chunk that came in lab frames: its payload and no more
//	kept-<array>-<node>/
//	                   chunks of an array that the disk is no part of any more, or of
//	                   a node that it is no more (see Reassign, NewNode)
//	trash/<seconds>/   chunks that wait to be unlinked (see trash.go)
//	tmp/               files that are being written; emptied by Open
//	raid-node.json     the marker
//	raid-node.trash    how long the store was open, while there is trash
//	raid-node.scrub    how far the scrub is (see package scrub)
//	raid-node.wear     how much was written to the disk (see package wear)
//	raid-node.commit   the highest commit number seen (see checkpoint.go)
//
// Fan-out directories have two characters, so nothing else can clash with them.
//
// # Promises
//
//   - Write returns nil only when file, directory and any new parent directory
//     are fsynced. Until then the chunk lies under tmp/, so a chunk that is
//     visible is whole.
//   - Delete returns only when the removal is as durable. The highest commit number
//     that SawCommit was told is, before anything is removed.
//   - Read and Verify never accept a byte that does not match the checksums of
//     its trailer. Nor do they accept a trailer that names another chunk, or a
//     chunk whose length and CRC-32C are not as the caller expects. A corrupt
//     chunk is reported, counted and left where it is. Only a caller that asks
//     for unchecked bytes gets any: another copy's checksums tell which of them
//     are good.
//   - A write or fsync that fails voids the chunk's name and turns the store read
//     only until it is opened again. After a failed fsync nobody knows what the
//     disk holds (the kernel may already have dropped the pages). A disk that is
//     full is no such failure, unless fsync said so.
//   - A chunk name is used once, and a name that was deleted is refused. So a Store
//     that arrives after the Delete that gave it up leaves nothing behind.
//   - A chunk that Trash has moved is neither listed nor counted. Read and Verify
//     bring it back, as long as it is there: until its time is over, or room is needed.
//   - CheckChunk reads the disk itself, and leaves no trace but its error and the
//     count of corrupt chunks.
//   - Nothing is written unless chunks are, or a commit number is higher than all
//     before. Two things are written without that. One is the time of the trash, now
//     and then while there is any. The other is the records of scrub and wear, when
//     their owners say so.
//
// # Sharing fsyncs
//
// Writers run side by side, which lets a journal commit their fsyncs together.
// They share the fsync of a directory: one that begins after a rename stands for
// that rename. See [dir.flush].
//
// # Lock order
//
// Store.trash.mu comes first, and is held while chunks move. Store.names.mu and
// Store.dirs.mu are leaves. dir.mu of a fan-out directory may be held while
// renaming, unlinking or counting in it, and nothing else is locked under it.
package chunkstore
