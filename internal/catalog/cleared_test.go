package catalog

import (
	"path/filepath"
	"testing"
	"time"
)

// Whoever waits for a check to end is told, and not left to look again some day.
func TestTheEndOfACheckIsTold(t *testing.T) {
	c := openTest(t, filepath.Join(t.TempDir(), "catalog.db"))
	select {
	case <-c.Cleared():
	case <-time.After(time.Minute):
		t.Fatal("the check after the start has not ended")
	}
	must(t, c.Vouched())
}
