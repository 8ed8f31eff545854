package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/reason"
)

// Exit statuses of raid-node's commands, with numbers of sysexits(3).
const (
	ExitUsage       = 64 // the command line is wrong
	ExitToken       = 65 // the token was mistyped
	ExitUnreachable = 69 // the daemon or the controller was not found or can't be reached
	ExitAgain       = 75 // it did not work now, and may later
	ExitRefused     = 77 // the node is not let in
	ExitSetRight    = 78 // a person has to set something right first
)

// Failure is an error in the words that a person gets, with the exit status of
// the command that it ends.
type Failure struct {
	Message string `json:"message"`
	Exit    int    `json:"exit"`
	Lose    int64  `json:"lose,omitempty"` // files that would be lost, where that is why

	cause error
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// Unwrap returns the cause of the failure, if it has any.
func (f *Failure) Unwrap() error { return f.cause }

func fail(exit int, cause error, format string, args ...any) error {
	return &Failure{Message: fmt.Sprintf(format, args...), Exit: exit, cause: cause}
}

// failureOf gives every error words and a status.
func failureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	f = &Failure{Message: err.Error(), Exit: ExitAgain, cause: err}
	switch {
	case errors.Is(err, identity.ErrWrongPin), errors.Is(err, identity.ErrStranger), errors.Is(err, identity.ErrRole), errors.Is(err, identity.ErrForeign):
		f.Exit = ExitRefused
	case errors.Is(err, identity.ErrDamaged), errors.Is(err, identity.ErrExposed):
		f.Exit = ExitSetRight
	}
	return f
}

// certificateRequired is an alert of TLS (RFC 8446 6.2).
const certificateRequired = tls.AlertError(116)

// notConnected says why there is no connection with the controller. elsewhere tells how to name it
// in another way.
func notConnected(host, addr, elsewhere string, err error) error {
	at := addr
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		at = op.Addr.String()
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns) && errors.Is(err, mdns.ErrNoAnswer):
		return fail(ExitUnreachable, err, "%s was not found by mDNS. Nobody in this network answers to that name: is the controller on and in this network, "+
			"and does avahi-daemon run on it? Try its address: %s", host, elsewhere)
	case errors.As(err, &dns) && mdns.IsLocal(host):
		return fail(ExitUnreachable, err, "%s was not found by mDNS. Is avahi-daemon running here, and is the controller on this network? "+
			"Try its address: %s", host, elsewhere)
	case errors.As(err, &dns):
		return fail(ExitUnreachable, err, "%s was not found by DNS. Is the name right? Try the controller's address: %s", host, elsewhere)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(ExitUnreachable, err, "%s refused the connection. On the controller run: systemctl status raid-controller", at)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail(ExitUnreachable, err, "%s does not answer. Is the controller on, and in this network?", at)
	}
	return fail(ExitUnreachable, err, "%s can't be reached%s. Is the controller on, and in this network?", at, because(err))
}

// noHandshake says why what listens there is not our controller. Nothing was
// sent to it.
func noHandshake(addr string, err error) error {
	var pin *identity.PinError
	var header tls.RecordHeaderError
	_, port, _ := net.SplitHostPort(addr)
	switch {
	case errors.As(err, &pin):
		return fail(ExitRefused, err, "The controller at %s is not the one this token was made for (fingerprint %s, got %s). Nothing was sent. "+
			"Wrong host, or the controller was reinstalled; make a new token there: sudo raidctl token create",
			addr, pin.Want.Brief(), pin.Got.Brief())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fail(ExitUnreachable, err, "%s takes connections and does not answer. Is raid-controller stuck? On the controller run: systemctl status raid-controller", addr)
	case errors.As(err, &header) && string(header.RecordHeader[:]) == "HTTP/":
		return fail(ExitUnreachable, err, "Port %s is open but is not raid-controller (HTTP, no TLS): %s", port, addr)
	case errors.As(err, &header), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fail(ExitUnreachable, err, "Port %s is open but is not raid-controller (no TLS): %s", port, addr)
	case errors.Is(err, identity.ErrStranger), errors.Is(err, identity.ErrRole):
		return fail(ExitRefused, err, "What answers at %s is not this array's controller. Nothing was sent: %v", addr, err)
	}
	return fail(ExitUnreachable, err, "Port %s is open but does not speak TLS as raid-controller does: %s%s", port, addr, because(err))
}

// brokeOff says how a conversation ended too early.
func brokeOff(addr string, err error) error {
	var op *net.OpError
	// crypto/tls has this word for an alert of the other side.
	if errors.As(err, &op) && op.Op == "remote error" {
		if _, port, _ := net.SplitHostPort(addr); errors.Is(op.Err, certificateRequired) {
			return fail(ExitUnreachable, err, "Port %s is where nodes store chunks, not where they join. Leave the port away, or write the one of [http] listen (9000)", port)
		}
		return fail(ExitRefused, err, "The controller at %s does not accept this node's certificate: it has another CA now. "+
			"If it was set up anew, or has lost its CA, let this node join again: sudo raidctl token create there", addr)
	}
	return fail(ExitAgain, err, "The connection with the controller at %s broke off%s. Try again", addr, because(err))
}

// because returns the reason why a connection failed, if more can be said of it.
func because(err error) string {
	if why := reason.Of(err); why != "" {
		return ": " + why
	}
	return ""
}
