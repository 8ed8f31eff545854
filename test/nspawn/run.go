package nspawn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"
)

// Command is something to be run on a host, by root in its home.
type Command struct {
	Lines string // for its shell, which ends at the first that fails
	Stdin io.Reader
	Env   []string
}

// Result holds what a command printed.
type Result struct{ Out, Err string }

// Enter is the command line, of the machine, that runs a program on the host.
func (h *Host) Enter(program string, args ...string) []string {
	line := []string{"nsenter", "--target", strconv.Itoa(h.Leader()), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"}
	return append(append(line, program), args...)
}

// Prepare makes a command that is not started yet.
func (h *Host) Prepare(ctx context.Context, c Command) *exec.Cmd {
	line := h.Enter("sh", "-ec", "cd /root\n"+c.Lines)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append([]string{
		"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
	}, c.Env...)
	cmd.Stdin = c.Stdin
	cmd.WaitDelay = 2 * time.Second // what it left behind may hold its output
	return cmd
}

// Run runs lines on the host. The error has what they printed.
func (h *Host) Run(ctx context.Context, c Command) (Result, error) {
	if h.Leader() == 0 {
		return Result{}, fmt.Errorf("on host %s: it is off", h.Name)
	}
	cmd := h.Prepare(ctx, c)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	r := Result{out.String(), said.String()}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return r, fmt.Errorf("on host %s: %s: %w\n%s%s", h.Name, c.Lines, err, r.Out, r.Err)
	}
	return r, nil
}

// Journal is the end of the host's journal, of all its boots, whether it runs or not.
// match are journalctl's, such as "_SYSTEMD_UNIT=raid-node.service".
func (h *Host) Journal(ctx context.Context, lines int, match ...string) string {
	args := append([]string{"--directory=" + h.Path("/var/log/journal"), "--no-pager", "--quiet", "--output=short-precise", "--lines=" + strconv.Itoa(lines)}, match...)
	out, err := output(ctx, "journalctl", args...)
	if err != nil {
		return err.Error()
	}
	return out
}
