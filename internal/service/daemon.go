package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/term"
)

// Exit statuses of a daemon.
const (
	ExitOK     = 0
	ExitFailed = 1 // it could not start or go on; its service manager may try again
	ExitUsage  = 2 // the command line is wrong
	// ExitConfig: the configuration, or the disk that it names, is refused
	// (EX_CONFIG of sysexits.h). The service manager does not try again.
	ExitConfig = 78
)

// Daemon is a daemon's command: its flags, and what they lead to.
type Daemon struct {
	Program string
	Version string              // as the linker set it; may be empty
	Usage   string              // what follows the flags in --help; may be empty
	Flags   func(*flag.FlagSet) // adds flags of its own; may be nil

	// Load reads and checks the configuration at path, or at the default place
	// when path is empty, and returns how to print it.
	Load func(path string, env []string) (show func(io.Writer) error, err error)

	// Serve runs the daemon, with what Load read, until ctx ends.
	Serve func(ctx context.Context, log *slog.Logger, notify *Notifier) error
	// Refused tells those of Serve's errors that trying again can't heal: they
	// end with ExitConfig. May be nil.
	Refused func(error) bool
}

// options is a command line.
type options struct {
	config, logLevel      string
	check, print, version bool
}

// Run is the whole program; its result is the exit status.
func (d *Daemon) Run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	o, err := d.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		d.usage(stdout)
		return ExitOK
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v; see %s --help\n", d.Program, err, d.Program)
		return ExitUsage
	case o.version:
		fmt.Fprintln(stdout, VersionLine(d.Program, d.Version))
		return ExitOK
	}
	log, err := NewLogger(LogConfig{
		Program: d.Program, Journal: isJournal(stderr), Out: stderr, Level: o.logLevel, Terminal: IsTerminal(stderr), Getenv: Getenv(env),
	})
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", d.Program, err)
		return ExitUsage
	}
	show, err := d.Load(o.config, env)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "%s: the configuration is refused:\n%v\n", d.Program, err)
		return ExitConfig
	case o.print:
		if err := show(stdout); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", d.Program, err)
			return ExitFailed
		}
		return ExitOK
	case o.check:
		fmt.Fprintln(stdout, d.Program+": the configuration is good")
		return ExitOK
	}
	defer runtime.KeepAlive(LimitMemory(env))
	return d.serve(ctx, log)
}

func (d *Daemon) serve(ctx context.Context, log *slog.Logger) int {
	notify := &Notifier{Log: log}
	said := make(chan struct{})
	stopping := context.AfterFunc(ctx, func() {
		defer close(said)
		notify.Stopping()
		log.Info("stopping", "cause", context.Cause(ctx))
	})
	err := d.Serve(ctx, log, notify)
	if !stopping() {
		<-said
	}
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		log.Info("stopped")
		return ExitOK
	case d.Refused != nil && d.Refused(err):
		log.Error(d.Program + " refuses to run: " + err.Error())
		return ExitConfig
	}
	log.Error(d.Program + " ends: " + err.Error())
	return ExitFailed
}

func (d *Daemon) parse(args []string) (o options, err error) {
	fs := d.flags(&o)
	err = fs.Parse(args)
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return o, err
}

func (d *Daemon) flags(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet(d.Program, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.config, "config", "", "read the configuration from `FILE`")
	fs.BoolVar(&o.check, "check-config", false, "say whether the configuration is right, and end with status 0 or 78")
	fs.BoolVar(&o.print, "print-config", false, "print each value and where it comes from, and end")
	fs.BoolVar(&o.version, "version", false, "print the version and end")
	fs.StringVar(&o.logLevel, "log-level", "", "log from this `LEVEL` on: debug, info, warn or error (default: $LOG_LEVEL, else info)")
	if d.Flags != nil {
		d.Flags(fs)
	}
	return fs
}

func (d *Daemon) usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: %s [flags]\n", d.Program)
	fs := d.flags(&options{})
	fs.SetOutput(w)
	fs.PrintDefaults()
	io.WriteString(w, d.Usage)
}

// IsTerminal tells whether a person is watching w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// isJournal tells whether w is this process's standard error, and that the journal.
func isJournal(w io.Writer) bool {
	if w != io.Writer(os.Stderr) {
		return false
	}
	ours, err := journal.StderrIsJournalStream()
	return ours && err == nil
}

// Getenv looks variables up in a list as os.Environ gives it.
func Getenv(env []string) func(string) string {
	return func(name string) string {
		for i := len(env) - 1; i >= 0; i-- { // the last one counts, as for os/exec
			if value, ok := strings.CutPrefix(env[i], name+"="); ok {
				return value
			}
		}
		return ""
	}
}
