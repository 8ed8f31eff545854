package identity

import (
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// A node ends TLS with a controller of another array before it has shown who it is. So
// that this one can tell its owner who came, a node names its array and itself in the
// server name of its first message (RFC 6066, 3), as array.node.raidpi. It proves
// nothing, and is in the clear.
const helloDomain = ".raidpi"

func helloName(array raid.ArrayID, node raid.NodeID) string {
	return string(array) + "." + string(node) + helloDomain
}

// ParseHello reads the array and the node that a peer has named before anything was
// proved. ok is false when it named none.
func ParseHello(serverName string) (array raid.ArrayID, node raid.NodeID, ok bool) {
	rest, ours := strings.CutSuffix(serverName, helloDomain)
	a, n, both := strings.Cut(rest, ".")
	if !ours || !both || !isID(a) || !isID(n) {
		return "", "", false
	}
	return raid.ArrayID(a), raid.NodeID(n), true
}

func isID(s string) bool {
	_, err := raid.DecodeID(s)
	return err == nil
}
