// Package httpapi is the array's REST API: the assignment's calls unchanged, and
// what people expect of a file store besides. docs/rest.md describes it for
// users, openapi.yaml for programs.
//
// # What a caller of this package can rely on
//
//   - Every answer to a request that net/http could parse comes from here: errors
//     are JSON, {"message": "…"}, with the status that [statusOf] chose.
//   - Whether a request may be served is decided from its header, before its body
//     is read. A route without a scope serves nobody. Root and the
//     daemon's own user may do everything through the Unix socket. Their programs
//     and people's on this machine may read and write. System users, whose programs
//     may speak for strangers, and all others need a token.
//   - No page of another origin changes anything, and no answer runs in a browser
//     as a page of this one.
//   - A [Listener] speaks HTTP with and without TLS on one port. Neither silence,
//     nor a flood from one address, nor from a few that send slowly what needs no
//     right, keeps others out of it.
//   - Where a request ends is clear: what a proxy could frame in another way than
//     net/http is answered with 400, and its connection closed.
//   - Request bodies are streams. Memory per request is bounded by a few buffers,
//     whatever the size of a file or of its JSON.
//   - An upload's reader reports EOF only when everything that can be known of
//     the request is known to be right: the rest of the JSON or of the form, the
//     length, the digest.
//   - The header of a download waits until 256 KiB of it, or all, are there and
//     verified; a read that fails later breaks the connection off, so nobody takes a
//     torn file for whole.
//   - A connection lives as long as it makes progress. One that moves no byte for
//     Config.Stall is cut.
//   - A handler that refuses a body still reads some of it for a bounded time, so
//     that a client which writes before it reads gets to see the answer.
//
// # Caveats
//
// Requests that are not HTTP (one without a Host, headers beyond 80 KiB, an
// unknown transfer coding) are answered by net/http itself, in plain text.
//
// crypto/tls makes a system call for each record of 16 KiB that a download is cut
// into. Letting several leave at once was measured: it saves a twentieth of the
// processor's time, takes a copy and a lock, and was left out.
package httpapi
