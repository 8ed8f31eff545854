// Package client is the Go client of the array's REST API; raidctl is made
// with it.
//
// # What a caller can rely on
//
//   - Uploads and downloads are streams: memory does not depend on a file's size.
//   - Every transfer is checked from end to end by SHA-256. A mismatch is a
//     [*DigestError].
//   - A download that breaks off goes on where it stopped, by Range and If-Match.
//   - Calls that may be repeated are, a few times, when the controller can't be
//     reached, breaks the connection off, or answers 503. These are reading calls,
//     Delete, and uploads whose body is an io.Seeker or has not been read yet.
//     Uploads carry an Idempotency-Key, so a repeated one makes no second file.
//   - No call has a time limit of its own, but one that moves no byte for
//     Config.Stall ends with [ErrStalled]. A body that waits for its own source
//     (a pipe) does not count as stalled here. The controller, though, ends an
//     upload that sends nothing for 30 s.
//
// # The other end
//
//   - With Config.Pin the controller is the one of that CA, under whatever name or
//     address it was found. Any other one is a [*WrongControllerError]. One whose
//     certificate is over by Config.Now is an [*EndedError]. No request is sent to
//     either.
//   - Config.Token goes over TLS, or stays on this machine: [ErrPlainToken]. It is
//     in no error.
//   - Redirects are not followed.
//
// # Errors
//
// [*Error] is the controller's refusal, with its status and words.
// [*UnreachableError] means that there was no connection at all. The rest wraps
// errors of the network, the body or the destination.
package client
