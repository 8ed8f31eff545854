// Command raid-node keeps the chunks that its controller sends, on one disk.
//
// It ends with status 0 after SIGTERM or SIGINT, 2 for a wrong command line, 78
// for a refused configuration or disk, and 1 for everything else; standard error
// says why.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/config"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
)

// version is set by the linker: -X main.version=1.2.3.
var version string

func main() {
	ctx, stop := service.Context(context.Background())
	status := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	var cfg *config.Node
	var newDisk bool
	d := service.Daemon{
		Program: "raid-node", Version: version,
		Flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&newDisk, "new-disk", false,
				"take chunk_dir for a new disk although state_dir remembers another, whose chunks are given up")
		},
		Load: func(path string, env []string) (func(io.Writer) error, error) {
			loaded, origins, err := config.LoadNode(path, env)
			if err != nil {
				return nil, err
			}
			cfg = loaded
			return func(w io.Writer) error { return cfg.Print(w, origins) }, nil
		},
		Serve: func(ctx context.Context, log *slog.Logger, notify *service.Notifier) error {
			return node.Run(ctx, compose(cfg, newDisk, log, notify))
		},
		Refused: func(err error) bool { return errors.Is(err, chunkstore.ErrDisk) },
	}
	return d.Run(ctx, args, env, stdout, stderr)
}

// dialTimeout bounds one attempt to reach the controller; the next one follows
// soon.
const dialTimeout = 5 * time.Second

// compose puts the configuration and this machine into the daemon's hands.
func compose(cfg *config.Node, newDisk bool, log *slog.Logger, notify *service.Notifier) node.Config {
	dialer := &net.Dialer{Timeout: dialTimeout}
	c := &cfg.Controller
	return node.Config{
		StateDir: cfg.StateDir, ChunkDir: cfg.ChunkDir, Reserve: int64(cfg.Reserve), Zone: cfg.Zone, NewDisk: newDisk,
		Host: c.Host, StorePort: c.StorePort, ResponsePort: c.ResponsePort, RequestPort: c.RequestPort,
		Plaintext: wire.Plaintext(c.Plaintext),
		Version:   service.Version(version), Log: log, Random: rand.Reader, Dial: dialer.DialContext,
		Ready: notify.Ready, Status: notify.Status,
	}
}
