// Command raid-node keeps the chunks that its controller sends, on one disk.
//
// The daemon ends with status 0 after SIGTERM or SIGINT and with 2 for a wrong command line. It is
// 78 for a refused configuration or disk, and 1 for everything else. Standard error says why.
//
// With the name of a command as its first argument (join, leave, reset-identity, status) it is no
// daemon. It tells the one on this machine what to do. Its exit statuses are those of package node.
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
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
)

// version and built are set by the linker: -X main.version=1.2.3 -X
// main.built=2026-12-24.
var version, built string

func main() {
	ctx, stop := service.Context(context.Background())
	status := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

const usage = `
Without one of these words it is the daemon; with one it tells the daemon on this machine what to do:
  raid-node join HOST [TOKEN]   make this machine a node of an array (on the controller: sudo raidctl token create)
  raid-node leave               take it out of its array
  raid-node reset-identity      make a copied card a node of its own
  raid-node status              show how it is
`

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if run, ok := commands[args[0]]; ok {
			c := &command{name: args[0], env: env, stdin: stdin, stdout: stdout, stderr: stderr}
			return c.status(run(ctx, c, args[1:]))
		}
	}
	var newDisk bool
	d := service.Daemon[loaded]{
		Program: "raid-node", Version: version, Usage: usage,
		Flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&newDisk, "new-disk", false,
				"take chunk_dir for a new disk although state_dir remembers another, whose chunks are given up")
		},
		Load: load, Level: func(s loaded) string { return string(s.LogLevel) }, Unread: func(err error) bool { return errors.Is(err, config.ErrUnread) },
		Serve: func(ctx context.Context, s loaded, log *slog.Logger, notify *service.Notifier) error {
			return node.Run(ctx, compose(s.Node, s.origins, newDisk, log, notify))
		},
		Refused: func(err error) bool { return errors.Is(err, chunkstore.ErrDisk) },
	}
	return d.Run(ctx, args, env, stdout, stderr)
}

// loaded is the configuration, and where each value comes from.
type loaded struct {
	*config.Node
	origins config.Origins
}

// Print implements service.Configuration.
func (s loaded) Print(w io.Writer) error { return s.Node.Print(w, s.origins) }

func load(path string, env []string) (loaded, error) {
	cfg, origins, err := config.LoadNode(path, env)
	return loaded{cfg, origins}, err
}

// dialTimeout bounds one attempt to reach the controller; the next one follows
// soon.
const dialTimeout = 5 * time.Second

// machineID is the file in which systemd keeps what tells machines apart (machine-id(5)).
const machineID = "/etc/machine-id"

// compose puts the configuration and this machine into the daemon's hands.
func compose(cfg *config.Node, origins config.Origins, newDisk bool, log *slog.Logger, notify *service.Notifier) node.Config {
	dialer := &mdns.Dialer{Dialer: net.Dialer{Timeout: dialTimeout}}
	name, err := os.Hostname()
	if err != nil {
		name = "raid-node"
	}
	machine, err := os.ReadFile(machineID)
	if err != nil {
		log.Warn("A copy of this card can't be told from it", "reason", err)
	}
	c := &cfg.Controller
	fallback := node.ControllerAddress{Host: c.Host, HTTPPort: c.HTTPPort, StorePort: c.StorePort, ResponsePort: c.ResponsePort, RequestPort: c.RequestPort}
	return node.Config{
		StateDir: cfg.StateDir, ChunkDir: cfg.ChunkDir, Reserve: int64(cfg.Reserve), Zone: cfg.Zone, NewDisk: newDisk,
		Controller: written(fallback, origins), Fallback: fallback, Plaintext: wire.Plaintext(c.Plaintext),
		ControlSocket: cfg.ControlSocket, Name: name, HostName: hostName(name), MachineID: string(machine), Now: time.Now, Built: service.Built(built),
		Version: service.Version(version), Log: log, Random: rand.Reader, Dial: dialer.DialContext,
		Machine: os.DirFS("/"), Ready: notify.Ready, Status: notify.Status, Watch: notify.Watch,
	}
}

// hostName is the machine's name as it is now: the kernel tells it.
func hostName(first string) func() string {
	return func() string {
		if now, err := os.Hostname(); err == nil {
			return now
		}
		return first
	}
}

// written returns the parts of a controller's address that somebody wrote, in the file or the
// environment.
func written(p node.ControllerAddress, origins config.Origins) node.ControllerAddress {
	isDefault := func(key string) bool { return origins["controller."+key] == config.Origin{} }
	if isDefault("host") {
		p.Host = ""
	}
	for key, port := range map[string]*int{
		"http_port": &p.HTTPPort, "store_port": &p.StorePort, "response_port": &p.ResponsePort, "request_port": &p.RequestPort,
	} {
		if isDefault(key) {
			*port = 0
		}
	}
	return p
}
