package monitor

import (
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Called returns what people call a node: its name, in quotes where it is no plain word, or else
// its id.
func Called(n raid.NodeInfo) string {
	switch {
	case n.Name == "":
		return "node " + string(n.ID)
	case !raid.IsPlain(n.Name):
		return "the node " + raid.Quoted(n.Name)
	}
	return n.Name
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
