package raid

import "strings"

// IsPlain reports whether every shell takes a text as one plain word, of at most 64 bytes.
// What a node says of itself stands in a line to paste only then.
func IsPlain(s string) bool {
	strange := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	}
	return s != "" && s[0] != '-' && len(s) <= 64 && !strings.ContainsFunc(s, strange)
}

// NodeArg names a node in a line to paste: by its name where that is a plain word, else by its id.
func NodeArg(id NodeID, name string) string {
	if IsPlain(name) {
		return name
	}
	return string(id)
}

// NodeArgs is NodeArg for each of some nodes. A name that two of them have is none.
func NodeArgs(nodes []NodeInfo) map[NodeID]string {
	names, out := map[string]int{}, map[NodeID]string{}
	for _, n := range nodes {
		names[n.Name]++
	}
	for _, n := range nodes {
		if out[n.ID] = string(n.ID); names[n.Name] == 1 {
			out[n.ID] = NodeArg(n.ID, n.Name)
		}
	}
	return out
}
