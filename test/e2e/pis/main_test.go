//go:build nspawn

package pis

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/nspawn"
)

var (
	distDir  = flag.String("dist", "", "where the packages and apt repositories are; default is dist in the module")
	rounds   = flag.Int("rounds", 2, "how often each disk loses what was not synced")
	idleFor  = flag.Duration("idle", 30*time.Second, "how long the idle array is measured")
	idleOnly = flag.Bool("idle-only", false, "end the test of six hosts when that is done")
)

// setting is shared by all tests, and made once by TestMain.
var setting struct {
	readme map[string]string // lines to paste, by the scene
	source *packageSource
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	root, err := cluster.Root(context.Background())
	if err != nil {
		return 1, err
	}
	if *distDir == "" {
		*distDir = filepath.Join(root, "dist")
	}
	readme, err := readPage(filepath.Join(root, "README.md"))
	if err != nil {
		return 1, err
	}
	setting.readme = readme.scenes
	if setting.source, err = newPackageSource(*distDir); err != nil {
		return 1, err
	}
	// Now, and not beside what is measured.
	if err := nspawn.MakeRoots(context.Background(), nspawn.Bookworm, nspawn.Trixie); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// setUp is a lab whose hosts can install from the package source.
type setUp struct {
	t   *testing.T
	lab *nspawn.Lab
}

// newLab makes a lab that ends with the test. When it fails, what its hosts logged is
// printed.
func newLab(t *testing.T) *setUp {
	t.Helper()
	lab, err := nspawn.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := setting.source.serve(t, lab); err != nil {
		t.Fatal(err)
	}
	return &setUp{t: t, lab: lab}
}
