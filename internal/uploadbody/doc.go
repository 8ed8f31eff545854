// Package uploadbody reads a file out of a request's body: JSON with base64 in it, a
// form, or the body itself.
//
// [FormatOf] chooses by the header and the query, before the body is read. [Format.Open]
// then reads up to the file's contents and returns them as a stream.
//
// # What a caller of this package can rely on
//
//   - Memory for each upload is bounded by a few buffers of 64 KiB, whatever the size
//     of the file or of its JSON.
//   - The stream reports EOF only when all of the request is known to be right: the
//     rest of the JSON or of the form, and the digest that was sent with it.
//   - Errors are [httpserver.Error]s, or those of the body itself.
//
// # Why JSON and base64 are read by hand
//
// encoding/json holds a string in memory whole, and so a file. Here a file of 1 GiB
// takes less than 16 MiB, which a test measures. It also replaces what is no Unicode,
// which is an error here.
package uploadbody
