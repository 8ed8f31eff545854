package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/term"
)

// Exit statuses of a daemon.
const (
	ExitOK     = 0
	ExitFailed = 1 // it could not start or go on; its service manager may try again
	ExitUsage  = 2 // the command line is wrong
	// ExitConfig: what is in the configuration, or on the disk that it names, is
	// wrong (EX_CONFIG of sysexits.h). The service manager does not try again, so it
	// is for nothing that may heal by itself.
	ExitConfig = 78
)

// Configuration holds a daemon's settings.
type Configuration interface {
	// Print writes each value and where it comes from.
	Print(io.Writer) error
	// Values are all keys' values as text, to see what has changed.
	Values() map[string]string
}

// levelKey is the one key that every daemon takes over while it runs.
const levelKey = "log_level"

// Daemon is a daemon's command: its flags, and what they lead to.
type Daemon[C Configuration] struct {
	Program string
	Version string              // as the linker set it; may be empty
	Usage   string              // what follows the flags in --help; may be empty
	Flags   func(*flag.FlagSet) // adds flags of its own; may be nil

	// Load reads and checks the configuration at path, or at the default place
	// when path is empty.
	Load func(path string, env []string) (C, error)
	// Unread tells those of Load's errors that trying again may heal: something could
	// not be read. They end with ExitFailed, all others with ExitConfig. May be nil.
	Unread func(error) bool
	// Level is the log level that a configuration asks for: debug, info, warn or
	// error.
	Level func(C) string

	// Serve runs the daemon, with what Load read, until ctx ends.
	Serve func(ctx context.Context, cfg C, log *slog.Logger, notify *Notifier) error
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
func (d *Daemon[C]) Run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
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
	r := &running[C]{Daemon: d, options: o, env: env}
	if o.check || o.print {
		return r.answer(stdout, stderr)
	}
	// From here on SIGHUP ends nothing, however early it comes.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	r.stderr, r.journal = stderr, isJournal(stderr)
	r.log = NewLogger(LogConfig{
		Program: d.Program, Journal: r.journal, Out: stderr, Level: &r.level, Terminal: IsTerminal(stderr), Getenv: Getenv(env),
	})
	r.notify = &Notifier{Log: r.log, Watchdog: WatchdogTime(r.log)}
	if err := r.load(); err != nil {
		return r.refuse(err, stderr)
	}
	defer runtime.KeepAlive(LimitMemory(env))
	return r.serve(ctx, hangups)
}

// running is one run of a Daemon.
type running[C Configuration] struct {
	*Daemon[C]
	options
	env    []string
	level  slog.LevelVar
	log    *slog.Logger
	notify *Notifier

	stderr  io.Writer
	journal bool // stderr is the journal's

	cfg    C                 // that Serve has
	values map[string]string // of cfg, with what was taken over since
}

// answer tells about the configuration and does no more.
func (r *running[C]) answer(stdout, stderr io.Writer) int {
	if err := r.load(); err != nil {
		fmt.Fprintf(stderr, "%s: the configuration is refused:\n%v\n", r.Program, err)
		return ExitConfig
	}
	if r.check {
		fmt.Fprintln(stdout, r.Program+": the configuration is good")
		return ExitOK
	}
	if err := r.cfg.Print(stdout); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", r.Program, err)
		return ExitFailed
	}
	return ExitOK
}

// load reads the configuration for the first time.
func (r *running[C]) load() error {
	cfg, err := r.Load(r.config, r.env)
	if err != nil {
		return err
	}
	if _, err := r.applyLevel(cfg); err != nil {
		return err
	}
	r.cfg, r.values = cfg, cfg.Values()
	return nil
}

// applyLevel sets the log level: of the command line, else the environment, else
// the configuration. from names its source.
func (r *running[C]) applyLevel(cfg C) (from string, err error) {
	name, from := r.logLevel, "--log-level"
	if name == "" {
		name, from = Getenv(r.env)("LOG_LEVEL"), "LOG_LEVEL"
	}
	if name == "" {
		name, from = r.Level(cfg), levelKey
	}
	level, err := parseLevel(name)
	if err != nil {
		return from, fmt.Errorf("%s: %w", from, err)
	}
	r.level.Set(level)
	return from, nil
}

// refuse tells of a configuration that can't be run. It tells a person in lines of their
// own, the journal as errors, and the status line. Its result is the exit status.
func (r *running[C]) refuse(err error, stderr io.Writer) int {
	what, advice, status := "the configuration is refused", "Set it right, then", ExitConfig
	if r.Unread != nil && r.Unread(err) {
		what, advice, status = "the configuration can't be read", "It is tried again; at once with", ExitFailed
	}
	get := Getenv(r.env)
	if cfg := (LogConfig{Terminal: IsTerminal(stderr), Getenv: get}); cfg.managed() {
		for line := range strings.Lines(err.Error()) {
			r.logEnd(what + ": " + strings.TrimSpace(line))
		}
	} else {
		fmt.Fprintf(stderr, "%s: %s:\n%v\n", r.Program, what, err)
	}
	r.notify.final("T" + what[1:] + ": " + err.Error() + ". " + advice + ": sudo systemctl restart " + r.Program)
	return status
}

// logEnd logs why the daemon ends. The journal gets it by standard error, which is known to be
// the unit's since systemd started it. An event on journald's own socket is different: journald
// looks up its sender when it reads it. If the process has ended by then journalctl -u does not
// show the event.
func (r *running[C]) logEnd(text string) {
	if !r.journal {
		r.log.Error(text)
		return
	}
	fmt.Fprintln(r.stderr, "<3>"+strings.ReplaceAll(text, "\n", "\n<3>")) // 3 is an error: sd-daemon(3)
}

func (r *running[C]) serve(ctx context.Context, hangups <-chan os.Signal) int {
	log, notify := r.log, r.notify
	said, stopSigns := make(chan struct{}), func() {}
	stopping := context.AfterFunc(ctx, func() {
		defer close(said)
		notify.Stopping()
		log.Info("stopping", "cause", context.Cause(ctx))
		stopSigns = notify.keepAliveToEnd()
	})
	served, end := context.WithCancel(ctx)
	var reloads sync.WaitGroup
	reloads.Go(func() { r.reloads(served, hangups) })
	err := r.Serve(ctx, r.cfg, log, notify)
	end()
	reloads.Wait()
	if !stopping() {
		<-said
	}
	stopSigns()
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		log.Info("stopped")
		return ExitOK
	case r.Refused != nil && r.Refused(err):
		notify.final("Refuses to run: " + err.Error())
		r.logEnd(r.Program + " refuses to run: " + err.Error())
		return ExitConfig
	}
	notify.final("Ended: " + err.Error())
	r.logEnd(r.Program + " ends: " + err.Error())
	return ExitFailed
}

func (d *Daemon[C]) parse(args []string) (o options, err error) {
	fs := d.flags(&o)
	rest, err := ParseFlags(fs, args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%.80q is not understood here", rest[0])
	}
	if _, wrong := parseLevel(o.logLevel); err == nil && wrong != nil {
		err = fmt.Errorf("--log-level: %w", wrong)
	}
	return o, err
}

func (d *Daemon[C]) flags(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet(d.Program, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.config, "config", "", "read the configuration from `FILE`")
	fs.BoolVar(&o.check, "check-config", false, "say whether the configuration is right, and end with status 0 or 78")
	fs.BoolVar(&o.print, "print-config", false, "print each value and where it comes from, and end")
	fs.BoolVar(&o.version, "version", false, "print the version and end")
	fs.StringVar(&o.logLevel, "log-level", "", "log from this `LEVEL` on: debug, info, warn or error (default: $LOG_LEVEL, else log_level of the configuration)")
	if d.Flags != nil {
		d.Flags(fs)
	}
	return fs
}

func (d *Daemon[C]) usage(w io.Writer) {
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
