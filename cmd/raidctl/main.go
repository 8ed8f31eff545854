// Command raidctl stores, fetches and lists the files of a raidpi array, shows
// how it is, and says who may use it.
//
// See docs/raidctl.md for its exit statuses.
package main

import (
	"context"
	"os"

	"github.com/raidpi/raidpi/internal/raidctl"
	"github.com/raidpi/raidpi/internal/service"
)

// version and built are set by the linker: -X main.version=1.2.3 -X
// main.built=2026-12-24.
var version, built string

func main() {
	ctx, stop := service.Context(context.Background())
	status := raidctl.Run(ctx, raidctl.Process{
		Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version, Built: built,
	})
	stop()
	os.Exit(status)
}
