package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"
)

const (
	firstPause = 250 * time.Millisecond // before the second attempt; doubles after each
	maxPause   = 10 * time.Second
)

// retry repeats a call as long as its error is one that time can heal and may,
// unless nil, allows it.
func (c *Client) retry(ctx context.Context, may func() bool, call func() error) error {
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || attempt >= c.attempts || !passing(err) || may != nil && !may() {
			return err
		}
		if pause(ctx, attempt, err) != nil {
			return err
		}
	}
}

// passing tells errors that another attempt may not meet. Whatever the network
// did is one of them.
func passing(err error) bool {
	var e *Error
	var unreachable *UnreachableError
	var digest *DigestError
	var wrong *WrongControllerError
	var untrusted *UntrustedError
	var ended *EndedError
	switch {
	case errors.As(err, &digest), errors.As(err, &wrong), errors.As(err, &untrusted), errors.As(err, &ended):
		return false
	case errors.As(err, &e):
		return e.Status == http.StatusServiceUnavailable || e.Status == http.StatusConflict && e.RetryAfter > 0
	case errors.As(err, &unreachable):
		// A name that nobody knows, or a network that is not there, stays so.
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	for _, lasting := range []error{
		context.Canceled, context.DeadlineExceeded, ErrStalled, ErrSource, ErrDestination, ErrChanged, errNotOurs,
	} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return true
}

// pause waits before the next attempt. It waits as long as the controller asked for,
// else longer each time, and never the same for all clients.
func pause(ctx context.Context, attempt int, err error) error {
	d := firstPause << min(attempt-1, 10)
	d += rand.N(d / 2)
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		d = e.RetryAfter
	}
	t := time.NewTimer(min(d, maxPause))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
