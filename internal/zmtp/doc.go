// Package zmtp makes ZMTP 3.0 connections (https://rfc.zeromq.org/spec/23/) whose
// peers are visible. One [Conn] is one TCP connection to one socket of libzmq or
// of ours. A message sent on it goes there and nowhere else.
//
// The greeting and the handshake are github.com/go-zeromq/zmq4's, through zmq4.Open.
// Its ready-made sockets are not used. Their PUSH sends to every peer, their
// accept loop waits for silent clients, and their reader trusts announced lengths.
//
// # Types
//
// [Connect] and [Accept] turn a net.Conn into a Conn; [Serve] does so for a
// listener, many at once. [Conn.Send] sends a message of one or more frames,
// [Conn.Receive] reads one. [Limits] bound what a peer may send.
//
// # Promises
//
//   - Nothing a peer sends panics, nor costs memory that it has not sent. A frame
//     of up to 16 KiB is allocated when it has arrived whole. A larger one is
//     after 16 KiB of it have, and one above Limits.FreeFrame only out of the
//     process-wide budget. So a peer that stops midway holds at most a 16 KiB
//     read buffer, MaxFrames frames of FreeFrame and what the budget gave it. A
//     message that stops arriving, or trickles, ends its connection and gives
//     that back.
//   - A message is written whole or the connection is closed. There is one writer
//     at a time, and each write has a deadline. Any error is final.
//   - With Config.TLS, ZMTP runs inside TLS, never instead of it: a peer that
//     connects with TLS has it or no connection. A port may serve both kinds; the
//     first byte tells. TLS's handshake shares the deadline and the places of
//     ZMTP's, and is read up to 32 KiB.
//   - PING is answered between messages, with the next write.
//   - Send does not return while the frames it was given are still referenced.
//   - Any error closes the connection for good. A caller that wants another dials again.
//
// # What the caller owes
//
// Somebody must call Receive all the time, in a loop: PINGs, a peer's end and
// [Conn.SilentFor] are noticed there. Sinks must not block.
//
// # The wire
//
//	first     16 of a TLS ClientHello, or FF of a greeting
//	greeting  FF 00 00 00 00 00 00 00 01 7F  03 00  "NULL"+16×00  as-server  31×00
//	frame     flags  length  body
//	flags     bit 0 MORE, bit 1 LONG (length is 8 bytes, big endian; else 1 byte),
//	          bit 2 COMMAND; all other bits 0
//	command   name length (1 byte), name, data
//	READY     properties: name length (1), name, value length (4, big endian), value
//	ERROR     reason length (1), reason
//	PING      TTL (2), context (0 to 16)     PONG  the same context
//
// The connecting side sends READY first. The binding side answers READY, or ERROR
// with a reason of at most 255 bytes that the other side gets as [RefusedError].
package zmtp
