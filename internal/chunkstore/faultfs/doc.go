// Package faultfs is a chunkstore.FS for tests, over a real directory, that
// fails where it is told to and forgets what was not fsynced.
//
// [FS.OnCall] is asked before every call and may delay it or make it fail.
//
// [FS.CutPower] ends everything: from then on each call fails. [FS.Recover] then
// puts the directory into a state that the disk may be in when the power comes
// back. What survives for certain is what POSIX promises: of a file what its
// last fsync saw, of a directory the entries that its last fsync saw. All else
// is up to the Loss that the test chooses. A file system that keeps more, as
// ext4 does, is among the outcomes of Some.
//
// The wrapped directory itself is never fsynced: that would only cost time.
package faultfs
