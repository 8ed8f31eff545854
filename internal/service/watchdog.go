package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// rounds is the number of times that the daemon's parts are asked in the time after which the
// service manager would end it.
const rounds = 3

// probesEnd bounds the wait of an ended Watch for probes that are under way.
const probesEnd = time.Second

// WatchdogTime returns how long the service manager waits for a sign of life, as it has told this
// process. 0: it does not watch.
func WatchdogTime(log *slog.Logger) time.Duration {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("The service manager's watchdog is not understood and gets no sign of life", "reason", err)
		return 0
	}
	return limit
}

// Watch asks the daemon's own parts whether they move, three times in the time that the service
// manager gives. It sends the manager a sign of life whenever all of them have answered. It returns
// nil when ctx ends; at once when nobody watches.
//
// A probe returns nil once its part has done something. It must never wait for another machine. One
// that hangs stays: it is not asked a second time, and no sign of life is sent until it returns. So
// a part may take longer than a round, as one does that waits for a slow card, and still be in
// time. Each step must take less than two thirds of the watchdog's time.
func (n *Notifier) Watch(ctx context.Context, probes map[string]func(context.Context) error) error {
	if n.Watchdog <= 0 {
		return nil
	}
	w := &watch{
		Notifier: n, round: n.Watchdog / rounds, probes: probes, asked: map[string]time.Time{},
		answers: make(chan answer, len(probes)), late: map[string]string{},
	}
	return w.run(ctx)
}

type watch struct {
	*Notifier
	round   time.Duration
	probes  map[string]func(context.Context) error
	asked   map[string]time.Time // under way, and since when
	answers chan answer          // has room for all
	late    map[string]string    // what was logged of those that do not move
}

type answer struct {
	part string
	err  error
}

func (w *watch) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer w.leave()
	defer cancel()
	tick := time.NewTicker(w.round)
	defer tick.Stop()
	for {
		missing := map[string]struct{}{}
		for part := range w.probes {
			missing[part] = struct{}{}
			w.ask(ctx, part)
		}
		for len(missing) > 0 {
			select {
			case a := <-w.answers:
				w.take(ctx, a, missing)
			case <-tick.C:
				w.report(missing)
				for part := range missing {
					w.ask(ctx, part)
				}
			case <-ctx.Done():
				return nil
			}
		}
		w.send(daemon.SdNotifyWatchdog)
		w.show()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask starts a probe that is not under way.
func (w *watch) ask(ctx context.Context, part string) {
	if _, there := w.asked[part]; there {
		return
	}
	w.asked[part] = time.Now()
	go func() {
		limited, cancel := context.WithTimeout(ctx, w.Watchdog)
		defer cancel()
		w.answers <- answer{part, w.probes[part](limited)}
	}()
}

func (w *watch) take(ctx context.Context, a answer, missing map[string]struct{}) {
	took := time.Since(w.asked[a.part])
	delete(w.asked, a.part)
	if a.err != nil {
		if ctx.Err() == nil && w.late[a.part] == "" && !errors.Is(a.err, context.DeadlineExceeded) {
			w.late[a.part] = fmt.Sprintf("%s does not work: %v", a.part, a.err)
			w.Log.Error("A part of this daemon does not work; if it stays so, the service manager starts it again", "part", a.part, "error", a.err)
			w.show()
		}
		return
	}
	delete(missing, a.part)
	if w.late[a.part] != "" {
		delete(w.late, a.part)
		w.Log.Info("The part of this daemon that hung moves again", "part", a.part, "took", took.Round(time.Millisecond))
		w.show()
	}
}

// report says which parts do not move.
func (w *watch) report(missing map[string]struct{}) {
	for part := range missing {
		since, there := w.asked[part]
		if !there || w.late[part] != "" {
			continue
		}
		w.late[part] = part + " hangs"
		w.Log.Error("A part of this daemon hangs; if it stays so, the service manager starts it again", "part", part, "since", time.Since(since).Round(time.Second))
	}
	w.show()
}

func (w *watch) show() {
	w.set(&w.alarm, strings.Join(slices.Sorted(maps.Values(w.late)), "; "))
}

// leave waits a moment for the probes under way: one of them may hang.
func (w *watch) leave() {
	limit := time.NewTimer(probesEnd)
	defer limit.Stop()
	for len(w.asked) > 0 {
		select {
		case a := <-w.answers:
			delete(w.asked, a.part)
		case <-limit.C:
			return
		}
	}
}

// keepAliveToEnd sends signs of life while the daemon stops, until the result is called. The daemon's
// parts end one after the other and can't be asked any more. The service manager knows by itself
// how long that may take.
func (n *Notifier) keepAliveToEnd() (stop func()) {
	if n.Watchdog <= 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(n.Watchdog / rounds)
		defer tick.Stop()
		for {
			n.send(daemon.SdNotifyWatchdog)
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// Moves makes a probe of a counter that a part which lives raises by itself.
func Moves(counter func() uint64) func(context.Context) error {
	last, first := uint64(0), true
	return func(ctx context.Context) error {
		for {
			now := counter()
			if first || now != last {
				last, first = now, false
				return nil
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
