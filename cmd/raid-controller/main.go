// Command raid-controller takes files over REST, cuts them into stripes and
// halves, and keeps each half on different raid-nodes.
//
// It ends with status 0 after SIGTERM or SIGINT and with 2 for a wrong command line. It is 78 for a
// refused configuration, and 1 for everything else. Standard error says why.
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
	"strconv"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/config"
	"github.com/raidpi/raidpi/internal/controller"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
)

// version and built are set by the linker: -X main.version=1.2.3 -X main.built=2026-11-25.
var version, built string

func main() {
	ctx, stop := service.Context(context.Background())
	status := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	var giveUp uint64
	var newCA, rebuild bool
	d := service.Daemon[loaded]{
		Program: "raid-controller", Version: version,
		Flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&newCA, "new-ca", false,
				"make a new certificate authority if it is lost: every node has to join again then, and keeps its id and its chunks")
			fs.BoolVar(&rebuild, "rebuild-catalog", false,
				"write a damaged catalog anew from its tables, if nothing is lost by that. Then end. See /usr/share/doc/raid-controller/catalog.md (A damaged catalog)")
			fs.Func("give-up-commit",
				"take this catalog for the newest although nodes have seen commit `NUMBER` of another: what was stored there alone is lost. Then end. See /usr/share/doc/raid-controller/catalog.md",
				func(text string) (err error) { giveUp, err = commitNumber(text); return err })
		},
		Load: load, Level: func(s loaded) string { return string(s.LogLevel) }, Unread: func(err error) bool { return errors.Is(err, config.ErrUnread) },
		Serve: func(ctx context.Context, s loaded, log *slog.Logger, notify *service.Notifier) error {
			c := compose(s.Controller, log, notify)
			if giveUp != 0 {
				return controller.ForgetCommits(ctx, c, giveUp)
			}
			if rebuild {
				return controller.RebuildCatalog(ctx, c)
			}
			c.NewCA = newCA
			return controller.Run(ctx, c)
		},
		Refused: refused,
	}
	return d.Run(ctx, args, env, stdout, stderr)
}

// commitNumber reads the number of a commit, which is never 0.
func commitNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, errors.New("that is no commit number. Give the one that raid-controller's log names, or raidctl status: only digits, such as 68736253953")
	}
	return n, nil
}

// loaded is the configuration, and where each value comes from.
type loaded struct {
	*config.Controller
	origins config.Origins
}

// Print implements service.Configuration.
func (s loaded) Print(w io.Writer) error { return s.Controller.Print(w, s.origins) }

func load(path string, env []string) (loaded, error) {
	cfg, origins, err := config.LoadController(path, env)
	return loaded{cfg, origins}, err
}

// refused tells keys and catalogs that a person has to see to.
func refused(err error) bool {
	return errors.Is(err, catalog.ErrRefused) ||
		errors.Is(err, identity.ErrDamaged) || errors.Is(err, identity.ErrExposed) || errors.Is(err, identity.ErrForeign)
}

// compose puts the configuration and this machine into the daemon's hands.
func compose(cfg *config.Controller, log *slog.Logger, notify *service.Notifier) controller.Config {
	stripe := int64(cfg.RAID.StripeSize)
	if cfg.RAID.StripeSize == config.WholeFile {
		stripe = 0
	}
	return controller.Config{
		StateDir: cfg.StateDir, Reserve: int64(cfg.Reserve),
		HTTPListen: string(cfg.HTTP.Listen), HTTPSocket: cfg.HTTP.Socket, HTTPPlain: wire.Plaintext(cfg.HTTP.Plaintext),
		Auth: cfg.HTTP.Auth == config.AuthToken, Names: cfg.HTTP.Names, MaxBody: int64(cfg.HTTP.MaxBody), MaxRequests: cfg.HTTP.MaxRequests,
		StoreListen: string(cfg.Nodes.StoreListen), ResponseListen: string(cfg.Nodes.ResponseListen),
		RequestListen: string(cfg.Nodes.RequestListen), Plaintext: wire.Plaintext(cfg.Nodes.Plaintext),
		Settle: time.Duration(cfg.Nodes.Settle),
		Level:  string(cfg.RAID.Level), Copies: cfg.RAID.Copies, StripeSize: stripe,
		MaxWholeFile: int64(cfg.RAID.MaxWholeFile), DegradedWrites: cfg.RAID.DegradedWrites,
		Grace: time.Duration(cfg.Repair.Grace), ScrubEvery: time.Duration(cfg.Repair.ScrubEvery), TrashKeep: time.Duration(cfg.Trash.Keep),
		EventsExec: cfg.Events.Exec,
		Version:    service.Version(version), Log: log, Random: rand.Reader,
		Listen: new(net.ListenConfig).Listen, ListenLocal: service.ListenLocal, Built: service.Built(built),
		Ready: notify.Ready, Status: notify.Status, Progress: notify.Progress, Watch: notify.Watch,
	}
}
