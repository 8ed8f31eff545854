package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Daemon is one process of the array. Its methods may be called concurrently.
type Daemon struct {
	name string
	path string
	args []string
	env  []string // added to the parent's
	dir  string   // working directory
	log  string   // file that gets stdout and stderr, appended over restarts

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// DaemonConfig describes a process; see [NewDaemon].
type DaemonConfig struct {
	Name string   // for messages
	Path string   // the program
	Args []string // without the program's own name
	Env  []string // added to the parent's environment, "KEY=value"
	Dir  string   // working directory; empty: the parent's
	Log  string   // file for stdout and stderr, appended to
}

// NewDaemon prepares a process and does not start it.
func NewDaemon(cfg DaemonConfig) *Daemon {
	return &Daemon{name: cfg.Name, path: cfg.Path, args: cfg.Args, env: cfg.Env, dir: cfg.Dir, log: cfg.Log}
}

// Name returns the name of the process in messages: "controller", "node1".
func (d *Daemon) Name() string { return d.name }

// LogPath is the file that collects what the process prints.
func (d *Daemon) LogPath() string { return d.log }

// SetEnv replaces the variables that the next Start adds to the environment.
func (d *Daemon) SetEnv(env ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.env = env
}

// Start runs the process. It fails when it is running already.
func (d *Daemon) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runningLocked() {
		return fmt.Errorf("start %s: it is running as process %d", d.name, d.cmd.Process.Pid)
	}
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	defer out.Close()
	cmd := exec.Command(d.path, d.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, out, out
	cmd.Env = append(os.Environ(), d.env...)
	cmd.SysProcAttr = ownProcess()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	done := make(chan struct{})
	go func() { // ends with the process, which Close kills
		_ = cmd.Wait() // the exit status stays in cmd.ProcessState
		close(done)
	}()
	d.cmd, d.done = cmd, done
	return nil
}

func (d *Daemon) runningLocked() bool {
	if d.cmd == nil {
		return false
	}
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Pid is the process id, or 0 when the process is not running.
func (d *Daemon) Pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.runningLocked() {
		return 0
	}
	return d.cmd.Process.Pid
}

// Exited is closed when the process has ended. It is nil before the first Start.
func (d *Daemon) Exited() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// ExitCode is the status that the process ended with, -1 when a signal ended
// it or it has not ended.
func (d *Daemon) ExitCode() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil || d.runningLocked() {
		return -1
	}
	return d.cmd.ProcessState.ExitCode()
}

// Kill ends the process with SIGKILL, also a frozen one, and waits until it is
// gone. Killing a process that is not running is fine.
func (d *Daemon) Kill() error {
	if err := d.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if done := d.Exited(); done != nil {
		<-done
	}
	return nil
}

// Terminate asks the process to end with SIGTERM and waits for it.
func (d *Daemon) Terminate(limit time.Duration) error {
	if err := d.signal(syscall.SIGTERM); err != nil {
		return err
	}
	done := d.Exited()
	if done == nil {
		return nil
	}
	select {
	case <-done:
	case <-time.After(limit):
		return fmt.Errorf("stop %s: still running %v after SIGTERM", d.name, limit)
	}
	if code := d.ExitCode(); code != 0 {
		return fmt.Errorf("stop %s: it ended with status %d", d.name, code)
	}
	return nil
}

// Freeze stops the process in its tracks (SIGSTOP): it stays connected and
// answers nothing, as a hung machine does.
func (d *Daemon) Freeze() error { return d.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on (SIGCONT).
func (d *Daemon) Thaw() error { return d.signal(syscall.SIGCONT) }

func (d *Daemon) signal(sig os.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.runningLocked() {
		return nil
	}
	if err := d.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", d.name, err)
	}
	return nil
}

// LogText is everything that the process has printed so far.
func (d *Daemon) LogText() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return "no log: " + err.Error()
	}
	return string(b)
}

// LogTail is the last lines of LogText.
func (d *Daemon) LogTail(lines int) string {
	all := strings.Split(strings.TrimRight(d.LogText(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
