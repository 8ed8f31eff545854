package service

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// maxStatus bounds the status line, in bytes: systemd ignores a message of more
	// than 4096.
	maxStatus = 2000
	// extension is the further time that a start that moves is waited for. extendEvery is
	// the time between two requests for it.
	extension   = time.Minute
	extendEvery = 10 * time.Second
)

// Notifier tells the service manager how the daemon is. It may be used from
// several goroutines. What can't be delivered is logged once and otherwise
// ignored: a daemon does not fail because nobody listens.
type Notifier struct {
	Log *slog.Logger
	// Watchdog is after what time without a sign of life the service manager ends
	// the daemon; 0: never. See Watch.
	Watchdog time.Duration
	// Send carries a message (sd_notify(3)); nil: to $NOTIFY_SOCKET.
	Send func(state string) error

	order    sync.Mutex // held while one of READY, RELOADING and STOPPING is sent
	stopping bool       // STOPPING was sent: neither of the others may follow

	sendOrder sync.Mutex // held over the making of a status line and its sending; before mu

	mu     sync.Mutex
	ready  chan struct{} // closed by Ready; made when first needed
	alarm  string        // what hangs
	note   string        // about the configuration
	status string
	sent   string
	failed bool

	step       string // of Progress
	extendedAt time.Time
}

// Ready says that start-up is over. It must never wait for another machine:
// package installation waits for it.
func (n *Notifier) Ready() {
	n.sendBeforeStop(daemon.SdNotifyReady)
	ready := n.readied()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !closed(ready) {
		close(ready)
	}
}

// readied is closed once the daemon is ready.
func (n *Notifier) readied() chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ready == nil {
		n.ready = make(chan struct{})
	}
	return n.ready
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Stopping says that the daemon has begun to end.
func (n *Notifier) Stopping() {
	n.order.Lock()
	defer n.order.Unlock()
	n.stopping = true
	n.send(daemon.SdNotifyStopping)
}

// sendBeforeStop sends what would take back that the daemon stops, unless it does:
// a reload may be under way then.
func (n *Notifier) sendBeforeStop(state string) {
	n.order.Lock()
	defer n.order.Unlock()
	if !n.stopping {
		n.send(state)
	}
}

// reloading says that the configuration is read anew; Ready ends it.
func (n *Notifier) reloading() {
	n.sendBeforeStop(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// Status sets the line that systemctl status shows. The same line again costs
// nothing. What hangs, and what became of a new configuration, stands before it.
func (n *Notifier) Status(line string) { n.set(&n.status, line) }

// final is the last status line, which stays when the daemon has ended.
func (n *Notifier) final(line string) {
	n.mu.Lock()
	n.alarm, n.note = "", ""
	n.mu.Unlock()
	n.Status(line)
}

// set changes a part of the status line. Lines are sent in the order in which they
// were made. An older one that came last would stay, since the newer counts as sent.
func (n *Notifier) set(part *string, text string) {
	n.sendOrder.Lock()
	defer n.sendOrder.Unlock()
	n.mu.Lock()
	*part = text
	var parts []string
	for _, p := range []string{n.alarm, n.note, n.status} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	line := oneLine(strings.Join(parts, " | "))
	same := n.sent == line
	n.sent = line
	n.mu.Unlock()
	if !same {
		n.send("STATUS=" + line)
	}
}

// oneLine is text as the protocol takes it.
func oneLine(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")
	if len(text) > maxStatus {
		text = strings.ToValidUTF8(text[:maxStatus], "") + " …"
	}
	return strings.ToValidUTF8(text, "?")
}

// Progress tells of a start that takes long, each time that it has got on. The
// status says so, and the service manager waits longer. A daemon that hangs does not
// call it, and is ended in time. done need not grow: what is rewritten in place moves too.
// step is for a person; total 0: not known.
func (n *Notifier) Progress(step string, done, total int64) {
	n.mu.Lock()
	if n.step == step && time.Since(n.extendedAt) < extendEvery {
		n.mu.Unlock()
		return
	}
	n.step, n.extendedAt = step, time.Now()
	n.mu.Unlock()
	n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extension.Microseconds()))
	line := "Starting: " + step
	if total > 0 {
		line += fmt.Sprintf(", %d %%", min(100, done*100/total))
	}
	n.Status(line)
}

func (n *Notifier) send(state string) {
	var err error
	if n.Send != nil {
		err = n.Send(state)
	} else {
		_, err = daemon.SdNotify(false, state)
	}
	n.mu.Lock()
	first := err != nil && !n.failed
	n.failed = n.failed || err != nil
	n.mu.Unlock()
	if first && n.Log != nil {
		n.Log.Warn("service manager does not take notifications", "err", err)
	}
}
