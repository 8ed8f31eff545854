// Package reconcile compares what nodes really hold with what the catalog says that they
// should.
//
// A node lists its chunks with the length and checksum that their trailers tell. The
// catalog is walked through as it lies on the disk, once for all nodes whose listing is
// there. Both are added up by ranges of upload ids, which chunk names begin with. Where
// the sums of a range differ, and only there, both are read once more, in the order of
// names, and merged. So memory does not depend on how many chunks there are, and no page
// of the catalog is read at random but for what differs.
//
// What comes of it:
//
//   - A copy that is missing or wrong is asked for by its bytes, since it may have come or
//     gone between the two readings. If it is not there, or its bytes are not those of the
//     catalog, it is marked bad, and repair makes it again.
//   - A copy that counts as bad and is listed as it should be is left to repair, which
//     asks for its bytes. It does not count before.
//   - What nothing explains is asked for a second time, counted, and stays. Repair looks
//     whether an earlier run left it, see [Leftovers].
//
// A node is compared once in each of its sessions, when it was cleaned, and then every
// week. What changes in the catalog or on the node meanwhile makes some ranges differ, and
// nothing else. Nothing is written unless something is wrong.
//
// A node whose listing can't be true is left alone until its next session, and costs the
// others nothing.
package reconcile
