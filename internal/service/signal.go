package service

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Signalled is the cause of a context that [Context] ended.
type Signalled struct{ Signal os.Signal }

// Error names the signal.
func (s Signalled) Error() string { return fmt.Sprintf("received signal %q", s.Signal) }

// ExitStatus returns the number that shells report for a process that the signal ended: 128 plus
// the signal's.
func (s Signalled) ExitStatus() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}

// Context ends with the cause [Signalled] at the first SIGINT or SIGTERM. From then on the signals
// do again what they do by default. So a second one ends a process that hangs in its shutdown. stop
// gives the signals back and ends the context too.
func Context(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(Signalled{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(context.Canceled)
		<-done
	}
}
