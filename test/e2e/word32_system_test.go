//go:build system

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// Many a Pi runs a 32-bit system.
func TestFilesComeBackEqualOn32Bit(t *testing.T) {
	t.Parallel()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	words, err := exec.CommandContext(t.Context(), filepath.Join(root, "test", "word32")).Output()
	if err != nil {
		t.Fatalf("this machine runs no 32-bit programs: test/setup helps: %v", err)
	}
	b := cluster.Build{Dir: filepath.Join(programs.temp, "word32"), Env: strings.Fields(string(words))}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wholeStory(t, b.Dir)
}
