// Package identity says who belongs to an array. It has the certificate authority
// and the certificates of the controller and of the nodes. It also has the TLS
// that they speak with each other, and the tokens with which a new node joins.
//
// # Types
//
//   - [CA]: the array's certificate authority, a file in the controller's state
//     directory. It signs the controller's certificates and those of nodes.
//   - [Pin]: SHA-256 of the CA's public key. It tells the array from all others.
//   - [Node]: a joined node's key and certificates, a file in its state directory.
//   - [Request]: a key that has no certificate yet, for joining and for rotation.
//   - [Token]: the text that a person pastes to let a node in. It carries the
//     pin, an id and a secret, and check digits.
//
// # Names
//
// A certificate names its owner in its only URI (RFC 5280 4.2.1.6). Its one
// extended key usage says which side of a connection it is for:
//
//	raidpi:<array>/ca
//	raidpi:<array>/controller     serverAuth
//	raidpi:<array>/node/<node>    clientAuth
//
// The certificate that browsers see names the controller and has DNS names and
// addresses beside.
//
// # Time
//
// No certificate between members hangs on a clock: a Pi starts in 1970. They are
// valid from 1970-01-01 to 9999-12-31 (RFC 5280 4.1.2.5). They are verified at a
// fixed moment in between. A node ends by its removal, and a key by the next one.
// The controller asks about both at every handshake. Only the certificate for
// browsers has a validity that means something, because browsers insist on it.
//
// # Files
//
// Keys lie in files of mode 0600, with the certificates that belong to them. So
// both appear at once. A file is written under another name, fsynced and
// renamed, and its directory is fsynced. One that is damaged, belongs to another
// array, or could be read by others is an error and is left as it is.
//
// # Caveats
//
// No two processes may open the same directory at once. The daemons lock their
// state directories, which this package leaves to them. A key from crypto/ecdsa
// is drawn from the system's randomness, whatever reader is passed. Readers
// passed here draw serial numbers, ids and secrets. A certificate of an earlier
// key of a node stays genuine for ever. The check that is given to [CA.ServerTLS]
// has to know which key counts.
package identity
