// Package hook runs a person's program for each event: to send a mail, or a message.
//
// The program gets the event as JSON on standard input, and its parts in the environment, for
// shells. One runs at a time, for [Limit] at most. Then it is killed, with all that it has started
// and that did not leave its process group. So are the processes that it leaves running when it
// ends. Events wait in a queue of bounded length. Those that find no room are counted, and the
// program is told how many.
package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// Limit bounds the time that the program may run for one event.
	Limit = 10 * time.Second
	// maxQueue bounds the events that wait.
	maxQueue = 100
	// maxOutput bounds the part of its output that is looked at, in bytes.
	maxOutput = 4 << 10
	// maxLine bounds the part of its first line that is logged, in bytes.
	maxLine = 200
)

// Config holds what a Hook is made of.
type Config struct {
	Path  string        // of the program, absolute
	Limit time.Duration // Limit when 0
	Log   *slog.Logger
}

// Hook runs the program. Its methods may be called concurrently, Run once.
type Hook struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	queue   []raid.Event
	skipped int
}

// New makes a hook; Run runs it.
func New(cfg Config) *Hook {
	if cfg.Limit == 0 {
		cfg.Limit = Limit
	}
	return &Hook{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Offer hands over an event. It does not wait.
func (h *Hook) Offer(e raid.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) >= maxQueue {
		h.skipped++
		return
	}
	h.queue = append(h.queue, e)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// next is the event that the program gets next.
func (h *Hook) next() (e raid.Event, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) > 0 {
		e, h.queue = h.queue[0], h.queue[1:]
		return e, true
	}
	if h.skipped == 0 {
		return e, false
	}
	e = raid.Event{
		At: time.Now(), Kind: raid.EventsLost, Text: fmt.Sprintf("%d events were not handed to this program, which is too slow for them", h.skipped),
		Advice: "raidctl events shows them",
	}
	h.skipped = 0
	return e, true
}

// Run runs the program for each event until ctx ends, which kills it.
func (h *Hook) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		e, ok := h.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-h.wake:
			}
			continue
		}
		if line, err := h.run(ctx, e); err != nil && ctx.Err() == nil {
			h.cfg.Log.Warn("the program that gets the events failed", "program", h.cfg.Path, "event", e.Seq, "kind", string(e.Kind), "error", err, "output", line)
		}
	}
	return nil
}

var errTooLong = errors.New("it took too long, and was killed")

// run runs the program for one event. line is the first one of its output.
func (h *Hook) run(ctx context.Context, e raid.Event) (line string, err error) {
	text, err := json.Marshal(e.Record())
	if err != nil {
		return "", err
	}
	var out firstBytes
	cmd := exec.Command(h.cfg.Path) //nolint:noctx // its whole group is killed below
	cmd.Dir, cmd.Env = "/", environment(e.Record())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(text, '\n')), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for who has left the group and holds its output open
	if err := cmd.Start(); err != nil {
		return "", err
	}
	group := cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		awaitEnd(group)
	}()
	limit := time.NewTimer(h.cfg.Limit)
	defer limit.Stop()
	late := false
	select {
	case <-ended:
	case <-ctx.Done():
	case <-limit.C:
		late = true
	}
	// Its process is not reaped yet, so the group's number is nobody else's.
	_ = unix.Kill(-group, unix.SIGKILL)
	<-ended
	err = cmd.Wait()
	if late {
		err = errTooLong
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended well; what it left behind is not waited for
	}
	return out.line(), err
}

// awaitEnd returns when a child has ended, and leaves it to be reaped.
func awaitEnd(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// environment is all that the program gets: nothing of the daemon's own.
func environment(e raid.EventRecord) []string {
	file := ""
	if e.File != nil {
		file = fmt.Sprint(*e.File)
	}
	host, _ := os.Hostname() // for who has several arrays; it can do without
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent",
		fmt.Sprintf("RAID_EVENT_SEQ=%d", e.Seq), "RAID_EVENT_AT=" + e.At, "RAID_EVENT_KIND=" + string(e.Kind), "RAID_EVENT_NODE=" + string(e.Node),
		"RAID_EVENT_FILE=" + file, "RAID_EVENT_TEXT=" + e.Text, "RAID_EVENT_ADVICE=" + e.Advice, "RAID_EVENT_HOST=" + host,
	}
}

// firstBytes keeps the beginning of an output.
type firstBytes struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (f *firstBytes) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.b = append(f.b, p[:min(len(p), maxOutput-len(f.b))]...)
	return len(p), nil
}

// line is the first line, as it can be logged.
func (f *firstBytes) line() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, _, _ := bytes.Cut(bytes.TrimLeft(f.b, "\r\n"), []byte("\n"))
	return strings.ToValidUTF8(string(first[:min(len(first), maxLine)]), "?")
}
