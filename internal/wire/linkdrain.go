package wire

import "time"

const (
	// drainLook is the time between looks of a Link that drains whether it may end. idleLooks of
	// them in a row must find nothing under way. The last Stores may have been on their way when
	// the controller was told.
	drainLook = 100 * time.Millisecond
	idleLooks = 2
	// labDrain is the time that it drains for a lab controller, which can't be told.
	labDrain = time.Second
)

// drain tells the controller that nothing new is taken, and returns once the Stores
// that have come are answered. It returns at the latest after Config.Drain.
func (l *Link) drain() {
	l.draining.Store(true)
	limit, connected := l.drainLimit()
	if !connected {
		return
	}
	select {
	case l.heartbeatNow <- struct{}{}:
	default:
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for idle := 0; idle < idleLooks && l.Connected(); {
		select {
		case <-look.C:
			if idle++; l.queued.outstanding() > 0 {
				idle = 0
			}
		case <-late.C:
			l.cfg.Log.Warn("Chunks were still being written when the time for ending was over; they are not acknowledged", "after", limit)
			return
		}
	}
}

func (l *Link) drainLimit() (limit time.Duration, connected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lab {
		return min(labDrain, l.cfg.Drain), l.connected
	}
	return l.cfg.Drain, l.connected
}
