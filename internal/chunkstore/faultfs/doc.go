// Package faultfs is a chunkstore.FS for tests, over a real directory. It fails where it is told to
// and forgets what was not fsynced.
//
// [FS.OnCall] is asked before every call and may delay it or make it fail.
//
// [FS.CutPower] ends everything: from then on each call fails. [FS.Recover] then puts the directory
// into a state that the disk may be in when the power comes back. POSIX promises what survives for
// certain: the content of a file at its last fsync, and the entries of a directory at its last
// fsync. The test chooses a Loss for all else. A file system that keeps more, as ext4 does, is
// among the outcomes of Some.
//
// The wrapped directory itself is never fsynced: that would only cost time.
package faultfs
