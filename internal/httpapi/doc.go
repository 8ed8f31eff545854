// Package httpapi is the array's REST API: the assignment's calls unchanged, and
// what people expect of a file store besides. docs/rest.md describes it for
// users, openapi.yaml for programs. There is a file for each resource; route.go has
// the table of calls.
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
//   - Request bodies are streams. Memory per request is bounded by a few buffers,
//     whatever the size of a file or of its JSON.
//   - A download that fails after its header breaks the connection off, so nobody takes
//     a torn file for whole.
//
// What connections, bodies and answers promise is in [httpserver], and what the streams
// of uploads do in [uploadbody].
package httpapi
