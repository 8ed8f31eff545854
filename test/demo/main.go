// Command demo shows a newcomer what raidpi does, in a minute and on one machine. It starts an
// array of one controller and four nodes, stores a file, kills a node, and reads the file back.
//
// It needs the built programs (make demo builds them) and nothing else. All
// state lies in one folder, which is emptied at the start.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	bin := fs.String("bin", "bin", "where raid-controller, raid-node and raidctl are")
	dir := fs.String("dir", ".demo", "folder for all state; emptied at the start")
	port := fs.Int("port", 9000, "port of the REST interface")
	grace := fs.Duration("grace", 0, "how long a node may be away before its copies are made again; 0: as usual")
	once := fs.Bool("once", false, "end by itself instead of leaving the array running")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	d := &demo{bin: *bin, dir: *dir, once: *once, grace: *grace, out: stdout}
	d.ports = cluster.Ports{HTTP: *port, Store: 5557, Response: 5558, Request: 5559}
	err := d.run(ctx)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stdout, "\nStopped.")
		return 130 // as shells report a program ended by Ctrl-C
	case err != nil:
		fmt.Fprintf(stderr, "\ndemo: %v\n", err)
		return 1
	}
	return 0
}

// demo is one run of the demonstration.
type demo struct {
	bin, dir string
	once     bool
	grace    time.Duration // 0: as configured
	ports    cluster.Ports
	out      io.Writer
	array    *cluster.Cluster
	files    map[int64]bool // that the demo has uploaded, each of one stripe
	step     int
}

func (d *demo) run(ctx context.Context) (err error) {
	if err := d.claimPorts(); err != nil {
		return err
	}
	if err := d.emptyDir(); err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.finish(err)) }()
	if err := d.show(ctx); err != nil {
		return err
	}
	if d.once {
		return nil
	}
	d.printInvitation()
	select {
	case <-ctx.Done():
		d.printf("\n\nStopping the array.\n")
		return nil
	case <-d.array.Controller.Exited():
		return fmt.Errorf("the controller ended by itself; see %s", d.array.Controller.LogPath())
	}
}

// claimPorts insists on the port that people will type, and steps aside on the
// three others.
func (d *demo) claimPorts() error {
	if p, taken := cluster.Taken(d.ports.HTTP); taken {
		return fmt.Errorf("port %d is in use by another program (another demo?): stop that, or choose another port: make demo PORT=9001", p)
	}
	if p, taken := cluster.Taken(d.ports.Store, d.ports.Response, d.ports.Request); taken {
		d.printf("Port %d is in use: the nodes talk to the controller over other ports than 5557 to 5559.\n", p)
		d.ports.Store, d.ports.Response, d.ports.Request = 0, 0, 0
	}
	return nil
}

// markerFile tells a folder of ours from one that must not be emptied.
const markerFile = "made-by-raidpi-demo"

// emptyDir removes an earlier demo's state. A folder that is neither empty nor
// a demo's is left alone.
func (d *demo) emptyDir() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", d.dir, err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(d.dir, markerFile)); err != nil {
			return fmt.Errorf("%s holds files that no demo made: move them away or choose another folder with -dir", d.dir)
		}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("empty %s: %w", d.dir, err)
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", d.dir, err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, markerFile), nil, 0o644); err != nil {
		return fmt.Errorf("mark %s: %w", d.dir, err)
	}
	return nil
}

// finish ends all processes. After a failure their logs stay; a demo that ends
// by itself leaves nothing.
func (d *demo) finish(failed error) error {
	if failed != nil {
		d.printf("\nThe daemons' logs are in %s.\n", filepath.Join(d.dir, "logs"))
		return d.array.Close()
	}
	err := errors.Join(d.array.Terminate(stopLimit), d.array.Close())
	if err != nil || !d.once {
		return err
	}
	return os.RemoveAll(d.dir)
}

func (d *demo) printf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

// title begins the next numbered step.
func (d *demo) title(format string, args ...any) {
	d.step++
	d.printf("\n%d. %s\n", d.step, fmt.Sprintf(format, args...))
}

// line adds an indented line to the step.
func (d *demo) line(format string, args ...any) { d.printf("   %s\n", fmt.Sprintf(format, args...)) }
