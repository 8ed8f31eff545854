// Package liar is a member of an array that says what it likes, for tests of what
// one bad member can do to the others.
//
// It joins as a node does: with a token, a key of its own, a certificate, and four
// connections inside mutual TLS. From then on it is honest, with its chunks in
// memory, but where a test tells it otherwise:
//
//   - [Liar.Greet] changes the properties of its READY, for sessions to come.
//   - [Liar.OnHeartbeat] changes each heartbeat. [Liar.SendHeartbeat] sends one more, as often as
//     a test likes.
//   - [Liar.Answer] changes, withholds or delays the answer to each Store, Get,
//     Delete, List and Verify. See [Answerer].
//   - [Liar.RenewKey] asks for a certificate for a new key, unasked and as often as a
//     test likes.
//   - [Liar.Send] sends any frames.
//
// A test that only wants a node which hangs in verifications:
//
//	l, err := liar.Join(ctx, liar.Config{Dir: t.TempDir(), HTTPPort: c.Ports.HTTP, Token: token})
//	l.Answer(liar.Hang(liar.Verify))
//	err = l.Connect(ctx)
//	defer l.Close()
//
// Types of the wire are named here by aliases, since tests from outside import
// nothing from inside.
package liar
