// Package admission decides who may be a node of the array. It makes join tokens, lets nodes in,
// gives them certificates for new keys and shows them out.
//
// # Types
//
//   - [Registrar]: all of it. Whoever wants in, or out, comes by here.
//   - [MemberStore]: where it is written who is a member. The catalog's.
//
// # How a node gets in
//
// A person makes a token and carries it to the node. The node connects with TLS, and compares the
// pin in the token. It sends a certificate request and a proof that it knows the token's secret
// ([identity.Token.Prove]). [Registrar.Join] checks the proof first: who does not know the secret
// learns nothing else about the token. Then one transaction in the store spends a use and records
// the node's key. The certificate is made after it, so there is none that the store does not know
// of. Asking again with the same key spends nothing, in case the answer was lost.
//
// # Which key counts
//
// [Registrar.CheckKey] is asked at every handshake, [Registrar.Identify] after it. A key that was
// certified by [Registrar.Renew] is the next one, until a connection proves that the node has it.
// From then on the one before is refused. That is known in memory at once, and Run writes it down.
// If the process dies in between, the next one sees the new key and does the same.
//
// # Time
//
// A token's time is measured on the monotonic clock and ends with the process, as do the tokens
// themselves. Nothing of them is on disk but which of them let whom in.
//
// # Locks
//
// One change is made to the store at a time (change), and memory follows what the store has. What
// handshakes ask is under a second lock (mu), which is only held for looking and setting. Who holds
// change may take mu, never the other way round; the functions in Config are called under neither.
package admission
