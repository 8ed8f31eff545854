package service

import (
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells the service manager how the daemon is. It may be used from
// several goroutines. What can't be delivered is logged once and otherwise
// ignored: a daemon does not fail because nobody listens.
type Notifier struct {
	Log *slog.Logger

	mu     sync.Mutex
	status string
	failed bool
}

// Ready says that start-up is over. It must never wait for another machine:
// package installation waits for it.
func (n *Notifier) Ready() { n.send(daemon.SdNotifyReady) }

// Stopping says that the daemon has begun to end.
func (n *Notifier) Stopping() { n.send(daemon.SdNotifyStopping) }

// Status sets the line that systemctl status shows. The same line again costs
// nothing.
func (n *Notifier) Status(line string) {
	line = strings.ToValidUTF8(strings.ReplaceAll(line, "\n", " "), "?")
	n.mu.Lock()
	same := n.status == line
	n.status = line
	n.mu.Unlock()
	if !same {
		n.send("STATUS=" + line)
	}
}

func (n *Notifier) send(state string) {
	_, err := daemon.SdNotify(false, state)
	n.mu.Lock()
	first := err != nil && !n.failed
	n.failed = n.failed || err != nil
	n.mu.Unlock()
	if first && n.Log != nil {
		n.Log.Warn("service manager does not take notifications", "err", err)
	}
}
