package monitor

import (
	"fmt"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Called is what people call a node: its name, in quotes where it is no plain word, or
// else its id.
func Called(n raid.NodeInfo) string {
	switch {
	case n.Name == "":
		return "node " + string(n.ID)
	case !plain(n.Name):
		return "the node " + raid.Quoted(n.Name)
	}
	return n.Name
}

// plain accepts what every shell takes as one word.
func plain(s string) bool {
	strange := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	}
	return s != "" && s[0] != '-' && len(s) <= 64 && !strings.ContainsFunc(s, strange)
}

// args are what to write for each node in a command: its name, where that is a plain word
// that no other node has, else its id.
func (m *Monitor) args(nodes []raid.NodeInfo) map[raid.NodeID]string {
	names, out := map[string]int{}, map[raid.NodeID]string{}
	for _, n := range nodes {
		names[n.Name]++
	}
	for _, n := range nodes {
		if out[n.ID] = string(n.ID); plain(n.Name) && names[n.Name] == 1 {
			out[n.ID] = n.Name
		}
	}
	return out
}

// roughly writes a length of time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// gigabytes is a size as it stands on a card.
func gigabytes(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
