package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are those that Build makes, by file name.
var Programs = []string{"raid-controller", "raid-node", "raidctl"}

// Build says how to build the programs of this repository.
type Build struct {
	Dir  string   // where they go; made when missing
	Env  []string // such as GOARCH=arm; empty: for this machine
	Race bool     // with the race detector, which needs gcc
}

// Run builds the programs from the module that the working directory is in.
func (b Build) Run(ctx context.Context) error {
	root, err := Root(ctx)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(b.Dir)
	if err != nil {
		return fmt.Errorf("build programs: %w", err)
	}
	args := []string{"build", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if b.Race {
		// SQLite's own code is ten times slower with it, and C in another shape.
		args = append(args, "-race", "-gcflags=modernc.org/sqlite/lib=-race=false")
		env = append(env, "CGO_ENABLED=1")
	} else {
		args = append(args, "-trimpath") // as make build does it
	}
	env = append(env, b.Env...)
	for _, p := range Programs {
		args = append(args, "./cmd/"+p)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build programs: go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Root is the folder of the module that the working directory is in.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's folder: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", fmt.Errorf("find the module's folder: the working directory is in no Go module")
	}
	return filepath.Dir(mod), nil
}
