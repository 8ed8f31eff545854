package service

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// heard holds the messages that a service manager was sent, and their times.
type heard struct {
	mu    sync.Mutex
	start time.Time
	signs []time.Duration // of WATCHDOG=1
	lines []string        // of STATUS
	other []string
}

func (h *heard) take(state string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch line, status := strings.CutPrefix(state, "STATUS="); {
	case status:
		h.lines = append(h.lines, line)
	case state == "WATCHDOG=1":
		h.signs = append(h.signs, time.Since(h.start))
	default:
		h.other = append(h.other, state)
	}
	return nil
}

// longestGap is the longest time without a sign of life until end.
func (h *heard) longestGap(end time.Duration) (gap time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := time.Duration(0)
	for _, s := range append(h.signs, end) {
		gap, last = max(gap, s-last), s
	}
	return gap
}

func (h *heard) status() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lines) == 0 {
		return ""
	}
	return h.lines[len(h.lines)-1]
}

// watching runs Watch with a limit of a minute for some time.
func watching(t *testing.T, run time.Duration, probes map[string]func(context.Context) error) (*heard, string) {
	t.Helper()
	var log bytes.Buffer
	h := &heard{start: time.Now()}
	n := &Notifier{Log: NewLogger(LogConfig{Out: &log}), Watchdog: time.Minute, Send: h.take}
	n.Status("3/4 nodes up")
	ctx, cancel := context.WithTimeout(t.Context(), run)
	defer cancel()
	if err := n.Watch(ctx, probes); err != nil {
		t.Error(err)
	}
	return h, log.String()
}

func moves(context.Context) error { return nil }

func TestSignsOfLifeComeThreeTimesInTheWatchdogsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const run = 10*time.Minute - time.Second // not the instant of a sign
		h, log := watching(t, run, map[string]func(context.Context) error{"a": moves, "b": moves})
		if gap := h.longestGap(run); len(h.signs) != 30 || gap > 20*time.Second {
			t.Errorf("%d signs, longest gap %v", len(h.signs), gap)
		}
		if log != "" || h.status() != "3/4 nodes up" {
			t.Errorf("log %q, status %q", log, h.status())
		}
	})
}

func TestAPartThatHangsEndsTheSignsOfLifeAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hung := make(chan struct{})
		time.AfterFunc(11*time.Minute, func() { close(hung) })
		h, log := watching(t, 10*time.Minute, map[string]func(context.Context) error{
			"the catalog's writer": moves,
			"the list of nodes": func(context.Context) error { // a lock does not know of contexts
				if asked.Add(1) > 3 {
					<-hung
				}
				return nil
			},
		})
		if len(h.signs) != 3 || asked.Load() != 4 {
			t.Errorf("%d signs of life, asked %d times", len(h.signs), asked.Load())
		}
		if want := "the list of nodes hangs | 3/4 nodes up"; h.status() != want {
			t.Errorf("status %q, want %q", h.status(), want)
		}
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, `part="the list of nodes"`) {
			t.Errorf("log %q", log)
		}
		time.Sleep(2 * time.Minute) // for the one that hung
	})
}

// An SD card may take half a minute for an fsync.
func TestASlowPartIsNotTakenForOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := 0
		h, log := watching(t, time.Hour, map[string]func(context.Context) error{"writer": func(ctx context.Context) error {
			took := []time.Duration{20 * time.Second, 0, 39 * time.Second, time.Second, 30 * time.Second}[turn%5]
			turn++
			select {
			case <-time.After(took):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		if gap := h.longestGap(0); gap >= time.Minute {
			t.Errorf("%v without a sign of life", gap)
		}
		if !strings.Contains(log, "moves again") || strings.Contains(h.status(), "hangs") && turn%5 != 3 {
			t.Errorf("log %q, status %q", log, h.status())
		}
	})
}

func TestAPartThatFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		h, log := watching(t, 5*time.Minute, map[string]func(context.Context) error{"REST": func(context.Context) error {
			if since := time.Since(begun); since > time.Minute && since < 2*time.Minute {
				return errors.New("status 500")
			}
			return nil
		}})
		if gap := h.longestGap(5 * time.Minute); gap < time.Minute || len(h.signs) < 9 {
			t.Errorf("gap %v, %d signs", gap, len(h.signs))
		}
		if !strings.Contains(log, "status 500") || h.status() != "3/4 nodes up" {
			t.Errorf("log %q, status %q", log, h.status())
		}
	})
}

func TestWithoutAWatchdogNothingIsAsked(t *testing.T) {
	n := &Notifier{}
	err := n.Watch(t.Context(), map[string]func(context.Context) error{"a": func(context.Context) error {
		t.Error("asked")
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestWatchdogTimeIsForThisProcessAlone(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"60000000", "", time.Minute}, {"60000000", "1", 0}, {"", "", 0}, {"-1", "", 0}, {"x", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		var log bytes.Buffer
		if got := WatchdogTime(NewLogger(LogConfig{Out: &log})); got != c.want {
			t.Errorf("%+v: %v %s", c, got, &log)
		}
	}
}

func TestACounterThatStandsStillIsNoMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n uint64
		probe := Moves(func() uint64 { return n })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := probe(ctx); err != nil {
			t.Fatal("first look:", err)
		}
		n++
		if err := probe(ctx); err != nil {
			t.Fatal(err)
		}
		if err := probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

func TestTimeIsAskedForOnlyWhileAStartMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{start: time.Now()}
		n := &Notifier{Send: h.take}
		for i := range 100 { // 50 s in which it moves
			n.Progress("copying the catalog", int64(i), 200)
			time.Sleep(time.Second / 2)
		}
		if len(h.other) != 5 || h.other[0] != "EXTEND_TIMEOUT_USEC=60000000" {
			t.Errorf("%q", h.other)
		}
		if want := "Starting: copying the catalog, 40 %"; h.status() != want {
			t.Errorf("status %q, want %q", h.status(), want)
		}
		time.Sleep(time.Minute) // it hangs
		if len(h.other) > 5 {
			t.Errorf("%q", h.other)
		}
		for range 100 { // 50 s in which files are written that do not grow
			n.Progress("moving the log into the catalog", 4096, 0)
			time.Sleep(time.Second / 2)
		}
		if len(h.other) != 10 {
			t.Errorf("%q", h.other)
		}
	})
}

// A newer line that overtook an older one would be taken back by it, for good.
func TestTheLastStatusIsTheNewest(t *testing.T) {
	h := &heard{}
	begun, slow := make(chan struct{}), make(chan struct{})
	n := &Notifier{Send: func(state string) error {
		if state == "STATUS=old" {
			close(begun)
			<-slow
		}
		return h.take(state)
	}}
	var telling sync.WaitGroup
	telling.Go(func() { n.Status("old") })
	<-begun
	telling.Go(func() { n.Status("new") })
	time.Sleep(50 * time.Millisecond) // for the new one to overtake the old
	close(slow)
	telling.Wait()
	if got := h.status(); got != "new" {
		t.Errorf("status %q", got)
	}
}

func TestStatusFitsIntoAMessage(t *testing.T) {
	h := &heard{}
	n := &Notifier{Send: h.take}
	n.Status(strings.Repeat("ö", 5000))
	if got := h.status(); len(got) > 4000 || !strings.HasPrefix(got, "öööö") || strings.Contains(got, "?") {
		t.Errorf("%d bytes", len(got))
	}
}

// A daemon that drains for longer than the watchdog's time is not a dead one.
func TestSignsOfLifeGoOnWhileADaemonStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signs atomic.Int32
		n := &Notifier{Watchdog: 9 * time.Second, Send: func(string) error { signs.Add(1); return nil }}
		stop := n.keepAliveToEnd()
		time.Sleep(31 * time.Second)
		stop()
		if got := signs.Load(); got != 11 {
			t.Errorf("%d signs", got)
		}
		time.Sleep(time.Minute)
		if signs.Load() != 11 {
			t.Error("signs of life after the end")
		}
	})
}
