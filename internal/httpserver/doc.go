// Package httpserver serves HTTP on a hostile network and on slow ones. It knows
// connections, requests and answers, and neither files nor nodes.
//
//   - [Listener] speaks HTTP with and without TLS on one port; [Serve] answers on it.
//   - [Exchange] is one request and its answer. [Content] is a file to answer with.
//   - [Error] is an error with the answer that it becomes.
//   - [RateLimiter] counts failed attempts, [RequestLimiter] requests under way.
//
// # What a caller of this package can rely on
//
//   - Neither silence on a [Listener], nor a flood from one address, nor from a few that
//     send slowly what needs no right, keeps others out of it.
//   - The end of a request is clear: what a proxy could frame in another way than
//     net/http is answered with 400, and its connection closed.
//   - A connection lives as long as it makes progress. One that moves no byte for
//     Config.Stall is cut.
//   - The header of a file waits until 256 KiB of it, or all, are there. A read that
//     fails later is an error for the caller, who breaks the connection off.
//   - A refused body is still read for a bounded time. So a client which writes before
//     it reads gets to see the answer.
//
// # Caveats
//
// Requests that are not HTTP (one without a Host, headers beyond 80 KiB, an
// unknown transfer coding) are answered by net/http itself, in plain text.
//
// crypto/tls makes a system call for each record of 16 KiB that a download is cut
// into. Letting several leave at once was measured: it saves a twentieth of the
// processor's time, takes a copy and a lock, and was left out.
package httpserver
