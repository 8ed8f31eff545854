package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// programs are the folders of the built daemons, set once by TestMain.
var programs struct {
	plain string // as users run them
	race  string // with the race detector when the tests have it, else plain
	temp  string // for further builds
}

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	temp, err := os.MkdirTemp("", "raidpi-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(temp)
	ctx := context.Background()
	programs.temp = temp
	programs.plain = filepath.Join(temp, "plain")
	programs.race = programs.plain
	if err := (cluster.Build{Dir: programs.plain}).Run(ctx); err != nil {
		return 1, err
	}
	if raceDetector {
		programs.race = filepath.Join(temp, "race")
		if err := (cluster.Build{Dir: programs.race, Race: true}).Run(ctx); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}
