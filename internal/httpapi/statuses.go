package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// statuses is the one place where an error that crossed a package border gets
// its HTTP status. An error may wrap several (no copy could be read, because
// each node said why), so the order is from conclusions to what was seen.
var statuses = []struct {
	err    error
	status int
}{
	{raid.ErrCatalogBehind, http.StatusServiceUnavailable},
	{raid.ErrCatalogDamaged, http.StatusServiceUnavailable},
	{raid.ErrCatalogBroken, http.StatusServiceUnavailable},
	{raid.ErrShutdown, http.StatusServiceUnavailable},
	{raid.ErrTooFewNodes, http.StatusServiceUnavailable},
	{raid.ErrArrayFull, http.StatusInsufficientStorage},
	{raid.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{raid.ErrGone, http.StatusGone},
	{raid.ErrUnauthorized, http.StatusUnauthorized},
	{raid.ErrForbidden, http.StatusForbidden},
	{raid.ErrUpgrade, http.StatusUpgradeRequired},
	{raid.ErrInvalid, http.StatusBadRequest},
	{raid.ErrConflict, http.StatusConflict},
	{raid.ErrPrecondition, http.StatusPreconditionFailed},
	{raid.ErrCorrupt, http.StatusInternalServerError},
	{raid.ErrNotFound, http.StatusNotFound},
	{raid.ErrNoSpace, http.StatusInsufficientStorage},
	{raid.ErrReadOnly, http.StatusServiceUnavailable},
	{raid.ErrBusy, http.StatusServiceUnavailable},
	{raid.ErrExpired, http.StatusServiceUnavailable},
	{raid.ErrPeerGone, http.StatusServiceUnavailable},
	{raid.ErrUnsupported, http.StatusServiceUnavailable},
}

// statusOf chooses the status of an error and the text that goes with it.
// Errors that nobody foresaw are 500 without their text, which is for the log.
func statusOf(err error) (status int, message string) {
	var f *httpserver.Error
	if errors.As(err, &f) {
		return f.Status, f.Message
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status, err.Error()
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable, "the request was ended before it was done; try again"
	}
	return http.StatusInternalServerError, "something went wrong inside the controller; its log says what"
}

// conflict is the answer where a call of the array's own says that something
// stands against it; 412 is for conditions in a request's header.
func conflict(err error) error {
	if errors.Is(err, raid.ErrPrecondition) {
		return &httpserver.Error{Status: http.StatusConflict, Message: err.Error(), Cause: err}
	}
	return err
}
