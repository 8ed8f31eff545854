package raid

import "time"

// KeyPin is the SHA-256 of a node's public key. Zero: none.
type KeyPin [32]byte

// Member is a native node that has joined the array: what the catalog knows of
// its identity.
type Member struct {
	ID   NodeID
	Name string // the machine's host name, for people
	// Key is the one that the node proves to have when it connects. Next has been
	// certified and not been seen yet. From its first connection on it is Key, and
	// the one before is refused.
	Key, Next KeyPin
	Issued    string // when the latest certificate was made: UTC, YYYY-MM-DD HH:MM:SS, as the catalog saw the time
	Named     bool   // by a person: the machine's own name does not replace Name
	Removed   bool   // for good: this id is never let in again
}

// TokenUse is one use of a join token.
type TokenUse struct {
	Token string // its id
	Uses  int    // how many it allows in all
	Zone  string // that it puts the node into; empty: the one that it is in
	// Replaces is the node whose place the new one takes, if that still waits for one.
	// Without a Zone the new one gets its zone.
	Replaces NodeID
}

// JoinToken describes a token that lets nodes in, without its secret.
type JoinToken struct {
	ID   string
	Uses int    // allowed in all
	Left int    // still possible
	Node NodeID // the one node that it lets in again, with a new key; empty: any new one
	Zone string // that it puts nodes into; empty: none
	// Replaces is the node whose place the one takes that it lets in; empty: none's.
	Replaces NodeID
	Expiry   time.Duration // until its end; not positive: it is over, for so long
	UsedBy   []string      // host names, for people
}

// JoinRequest is a node's wish to join: the body of POST /v1/nodes/join.
type JoinRequest struct {
	Protocol int    `json:"protocol"` // of the wire, see wire.ProtocolVersion
	Version  string `json:"version"`  // the program's, for people
	Token    string `json:"token"`    // its id; the secret is not sent
	CSR      []byte `json:"csr"`      // PKCS #10, DER
	Proof    []byte `json:"proof"`    // that the node knows the token's secret
	Node     NodeID `json:"node"`     // as the node's disk is marked
	Name     string `json:"name"`     // host name, for people
	Remote   string `json:"-"`        // address that it came from, for people
}

// Certificate is the answer of POST /v1/nodes/join and /v1/nodes/renew: for a node that has joined,
// or one whose key is rotated.
type Certificate struct {
	Array ArrayID `json:"array"`
	Node  NodeID  `json:"node"`
	DER   []byte  `json:"certificate"` // the node's
	CA    []byte  `json:"ca"`          // the array's, DER
	// StorePort and so on are the ports on which the controller listens for nodes.
	StorePort    int `json:"store_port"`
	ResponsePort int `json:"response_port"`
	RequestPort  int `json:"request_port"`
	Up           int `json:"nodes_up"` // before this one, for people
	Known        int `json:"nodes"`
}

// RemoveOrder is the wish to take a node out of the array: the body of POST
// /v1/nodes/leave.
type RemoveOrder struct {
	Force bool `json:"force"` // although it has copies of files
	// Lose is the number of files that may be lost with the node. It must be as many as there are.
	Lose int64 `json:"lose,omitempty"`
	// Replaced says that no person wishes this: another node replaces this one. It leaves only if
	// nothing rested on it any more, and that is still so.
	Replaced bool `json:"-"`
}

// LossError refuses to remove a node, which would lose another number of files than
// the order allows. It is an ErrPrecondition.
type LossError struct {
	Text  string // for a person
	Files int64  // so many would be lost
}

// Error implements error.
func (e *LossError) Error() string { return e.Text }

// Unwrap makes it an ErrPrecondition.
func (e *LossError) Unwrap() error { return ErrPrecondition }

// Leaving counts what rests on a node that is to leave the array.
type Leaving struct {
	Files  int64 // of which some part has a good copy there
	Lost   int64 // those of them of which some part has no good copy on another node that is there
	AtMost bool  // these are upper bounds; else they are exact

	Trash     int64 // the same as Files of those in the trash, at most
	TrashLost int64 // those of them that could not be put back any more, at most

	Partial bool // not all files are counted yet
	// Relocation says what becomes of the node's copies.
	Relocation Relocation
}
