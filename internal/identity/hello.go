package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// A node ends TLS with a controller of another array before it has shown who it is. That controller
// shall be able to tell its owner who came. So a node names its array in the server name of its
// first message (RFC 6066, 3), as array.mark.raidpi. The mark tells nodes apart: 64 bits of a
// SHA-256, from which nobody learns the node's id. The name proves nothing, and is in the clear.
const helloDomain = ".raidpi"

func helloName(array raid.ArrayID, node raid.NodeID) string {
	return string(array) + "." + Mark(array, node) + helloDomain
}

// Mark tells a node from others of its array, and says nothing else of it.
func Mark(array raid.ArrayID, node raid.NodeID) string {
	sum := sha256.Sum256([]byte("raidpi node " + string(array) + " " + string(node)))
	return hex.EncodeToString(sum[:8])
}

// ParseHello reads the array that a peer has named before anything was proved, and the
// mark of the node. ok is false when it named none.
func ParseHello(serverName string) (array raid.ArrayID, mark string, ok bool) {
	rest, ours := strings.CutSuffix(serverName, helloDomain)
	a, mark, both := strings.Cut(rest, ".")
	if raw, err := hex.DecodeString(mark); !ours || !both || err != nil || len(raw) != 8 {
		return "", "", false
	}
	if _, err := raid.DecodeID(a); err != nil {
		return "", "", false
	}
	return raid.ArrayID(a), mark, true
}
