package raidctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/service"
)

// Exit statuses, for scripts. docs/raidctl.md promises them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2   // the command line is wrong
	exitNotFound    = 3   // no such file, node or token in the array
	exitUnreachable = 4   // no connection to the controller, or it broke off
	exitUnavailable = 5   // the array can't do it now (503), or is full (507)
	exitDigest      = 6   // bytes were damaged on their way
	exitNotAllowed  = 7   // a token is needed, or the one shown is not good for it (401, 403)
	exitStranger    = 8   // another controller than the one that is known; nothing was sent
	exitInterrupted = 130 // Ctrl-C
)

// usageError is a wrong command line.
type usageError struct {
	error
	command string
}

func (u usageError) Unwrap() error { return u.error }

// said is an error that the person was told already, as it happened.
type said struct{ error }

func (s said) Unwrap() error { return s.error }

// statusOf chooses the exit status of an error.
func statusOf(ctx context.Context, err error) int {
	var usage usageError
	var signal service.Signalled
	var digest *client.DigestError
	var unreachable *client.UnreachableError
	var network *net.OpError
	var wrong *client.WrongControllerError
	var untrusted *client.UntrustedError
	var ended *client.EndedError
	var notFor *tokenForOtherError
	var noNode noNodeError
	switch code := client.StatusOf(err); {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(context.Cause(ctx), &signal):
		return signal.ExitStatus()
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &digest):
		return exitDigest
	case errors.As(err, &wrong), errors.As(err, &untrusted), errors.As(err, &ended), errors.As(err, &notFor):
		return exitStranger
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return exitNotAllowed
	case code == http.StatusNotFound, errors.As(err, &noNode):
		return exitNotFound
	case code == http.StatusServiceUnavailable, code == http.StatusInsufficientStorage, errors.Is(err, errNotReady), errors.Is(err, errKeepOn):
		return exitUnavailable
	case code != 0:
		return exitFailed
	case errors.Is(err, client.ErrSource), errors.Is(err, client.ErrDestination):
		return exitFailed
	case errors.As(err, &unreachable), errors.As(err, &network), errors.Is(err, client.ErrStalled), errors.Is(err, io.ErrUnexpectedEOF):
		return exitUnreachable
	}
	return exitFailed
}

// fail tells the person what went wrong and returns the exit status.
func (a *app) fail(ctx context.Context, err error) int {
	status := statusOf(ctx, err)
	var told said
	if !errors.As(err, &told) {
		a.printError(ctx, err)
	}
	return status
}

// printError writes an error to standard error: a line, or with --json an object.
func (a *app) printError(ctx context.Context, err error) {
	text := a.explain(ctx, err)
	if a.json {
		b, jsonErr := json.Marshal(map[string]any{
			"message": text, "exit_status": statusOf(ctx, err), "http_status": client.StatusOf(err),
		})
		if jsonErr == nil {
			fmt.Fprintf(a.stderr, "%s\n", b)
			return
		}
	}
	fmt.Fprintf(a.stderr, "raidctl: %s\n", printableLine(text))
}

// explain says what happened and what to do about it.
func (a *app) explain(ctx context.Context, err error) string {
	var usage usageError
	var refused *client.Error
	var unreachable *client.UnreachableError
	var wrong *client.WrongControllerError
	var untrusted *client.UntrustedError
	var ended *client.EndedError
	var notFor *tokenForOtherError
	switch {
	case errors.As(err, &usage):
		return err.Error() + "; see " + usage.command + " --help"
	case ctx.Err() != nil:
		text := strings.TrimSuffix(err.Error(), ": "+errInterrupted.Error())
		if text == errInterrupted.Error() {
			return text
		}
		return "interrupted: " + text
	case errors.As(err, &wrong):
		return wrongController(wrong)
	case errors.As(err, &ended):
		return a.endedCertificate(ended)
	case errors.As(err, &notFor):
		return tokenForOther(notFor)
	case errors.As(err, &untrusted):
		return err.Error() + ". If it is a raid-controller: raidctl login " + untrusted.URL
	case errors.As(err, &unreachable) && a.target.guess:
		return noController()
	case errors.As(err, &unreachable):
		return err.Error() + ". " + unreachableAdvice(unreachable)
	case errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable && refused.RetryAfter > 0:
		return fmt.Sprintf("%v. Try again in %v.", err, refused.RetryAfter)
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return strings.TrimSpace(err.Error() + a.tokenAdvice())
	case errors.Is(err, client.ErrUnproved):
		return err.Error() + ". On the controller itself: sudo raidctl fingerprint; or log in: raidctl login " + a.loginURL()
	}
	return err.Error()
}

// noController tells a person who named no controller what to do, on a machine that has none.
func noController() string {
	const login = "To log in to one: raidctl login controller.local, or its address in the place of that name"
	if _, err := exec.LookPath("raid-controller"); err == nil {
		return "raid-controller does not run on this machine, and no other one is known here. To start it: sudo systemctl start raid-controller. " + login
	}
	return "no controller is known here yet. " + login
}

// unreachableAdvice says what to look at when there is no connection.
func unreachableAdvice(u *client.UnreachableError) string {
	const elsewhere = "another address: --controller or RAID_CONTROLLER_URL"
	var dns *net.DNSError
	switch {
	case errors.Is(u, syscall.EACCES):
		return "Only root and raid-controller's own user may use its socket: sudo raidctl …"
	case errors.Is(u, syscall.ENOENT):
		return "Is raid-controller running on this machine? systemctl status raid-controller; " + elsewhere
	case errors.Is(u, syscall.ECONNREFUSED):
		return "Is raid-controller running there? systemctl status raid-controller; " + elsewhere
	case errors.Is(u, mdns.ErrNotRunning):
		return "Names ending in .local are found by avahi-daemon: sudo apt install avahi-daemon; or use the IP address; " + elsewhere
	case errors.As(u, &dns) && mdns.IsLocal(dns.Name):
		return "Is the controller on and in the same network, and does avahi-daemon run on it? Or use its IP address; " + elsewhere
	case errors.As(u, &dns):
		return "Is the name right? " + elsewhere
	}
	return "Is the machine on, and in the same network? " + elsewhere
}
