package raidctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// loginRun is raidctl login.
type loginRun struct {
	*app
	fingerprint string
	given       string // --token
	caOnly      bool
}

func (a *app) loginCommand() *cobra.Command {
	l := &loginRun{app: a}
	cmd := &cobra.Command{
		Use:   "login [ADDRESS]",
		Short: "Remember a controller, its fingerprint and a token",
		Long: "Remember a controller, the fingerprint of its CA and a token, for all calls from now on.\n" +
			"The token is asked for without showing it, and says by which fingerprint the right controller is\n" +
			"known. --token-file and RAID_TOKEN are for scripts; --token can be seen by others on this machine.\n" +
			"On the controller:  sudo raidctl access create NAME --scope write",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&l.fingerprint, "fingerprint", "", "take a controller with this `FINGERPRINT` (SHA256:…) and no other; nothing is asked")
	cmd.Flags().StringVar(&l.given, "token", "", "the `TOKEN`; others on this machine may see it while raidctl runs")
	cmd.Flags().BoolVar(&l.caOnly, "ca-only", false, "without a token, for a controller that asks for none (auth = \"off\")")
	return cmd
}

func (l *loginRun) run(ctx context.Context, args []string) error {
	before, err := readLogin()
	if err != nil {
		return err
	}
	where, err := l.where(args, before)
	if err != nil {
		l.parsed = false
		return err
	}
	now := &login{URL: where}
	// The token first: it may know whom it is for, and then nobody is asked.
	if !l.caOnly {
		if now.Token, err = l.token(ctx); err != nil {
			return err
		}
	}
	if now.Pin, err = l.pin(ctx, now, before); err != nil {
		return err
	}
	s, err := l.try(ctx, now)
	if err != nil {
		return err
	}
	if err := now.save(); err != nil {
		return fmt.Errorf("store the login: %w", err)
	}
	return l.report(now, s)
}

// where is the URL to log in to.
func (l *loginRun) where(args []string, before *login) (string, error) {
	s := l.flags.url
	if s == "" {
		s = l.getenv("RAID_CONTROLLER_URL")
	}
	switch {
	case l.flags.socket != "":
		return "", errors.New("a socket needs no login")
	case len(args) > 0:
		s = args[0]
	case s == "" && before != nil:
		s = before.URL
	case s == "":
		return "", errors.New("say which controller: raidctl login controller.local")
	}
	a, err := address.Parse(s)
	if err != nil {
		return "", err
	}
	if encrypted := a; a.Scheme == "http" && !address.IsLoopback(a.Host) {
		encrypted.Scheme = "https"
		return "", fmt.Errorf("log in to %s: %w; use %s", a, client.ErrPlainToken, encrypted)
	}
	return a.String(), nil
}

const onTheController = "On the controller itself this prints it:  sudo raidctl fingerprint"

var errNotConfirmed = errors.New("not logged in; nothing was sent to the controller")

// pin is the fingerprint that a person, the token or an earlier login vouches for.
func (l *loginRun) pin(ctx context.Context, now, before *login) (*identity.Pin, error) {
	if strings.HasPrefix(now.URL, "http:") {
		if l.fingerprint != "" {
			l.parsed = false
			return nil, errors.New("--fingerprint is for https: plain HTTP has none")
		}
		return nil, nil // on this machine, as where has seen to
	}
	forPin, pinned := raid.AccessTokenPin(now.Token)
	known, err := l.knownPin(now.URL, before)
	switch {
	case err != nil:
		return nil, err
	case known != nil && pinned && known.Short() != forPin && l.fingerprint != "":
		l.parsed = false
		return nil, fmt.Errorf("--fingerprint is not that of the controller that the token was made for (%s)", identity.ShortPin(forPin).Brief())
	case known != nil:
		return known, nil // and another one is refused
	}
	tty := l.terminal()
	if tty == nil && !pinned {
		return nil, fmt.Errorf("the controller at %s is not known here yet, and there is no terminal to ask on: add --fingerprint SHA256:…. %s", now.URL, onTheController)
	}
	seen, err := client.Probe(ctx, now.URL, l.now)
	switch {
	case errors.Is(err, identity.ErrStranger), errors.Is(err, identity.ErrRole):
		return nil, fmt.Errorf("%w. That is no raid-controller. (Behind a proxy with a certificate of its own: --controller and RAID_TOKEN, without a login)", err)
	case err != nil:
		return nil, err
	case pinned && seen.Pin.Short() != forPin:
		return nil, &tokenForOtherError{url: now.URL, want: forPin, got: seen.Pin}
	case pinned, before != nil && before.Pin != nil && *before.Pin == seen.Pin: // or the same one, under another name
		return &seen.Pin, nil
	}
	return &seen.Pin, l.confirm(ctx, now.URL, seen)
}

// knownPin is the one that is known whatever the token says; nil: none.
func (l *loginRun) knownPin(where string, before *login) (*identity.Pin, error) {
	if l.fingerprint != "" {
		pin, err := identity.ParseFingerprint(l.fingerprint)
		if err != nil {
			l.parsed = false
			return nil, fmt.Errorf("--fingerprint: %w", err)
		}
		return &pin, nil
	}
	if before != nil && before.URL == where {
		return before.Pin, nil
	}
	return nil, nil
}

// confirm asks as ssh does.
func (l *loginRun) confirm(ctx context.Context, where string, seen client.Seen) error {
	fmt.Fprintf(l.stderr, "The controller at %s (array %s) is not known here yet. Its fingerprint is\n\n  %s\n\n%s\n",
		where, seen.Array, seen.Pin.Fingerprint(), onTheController)
	question := "Is it the same (yes, no, or the fingerprint from there)? "
	for {
		answer, err := l.ask(ctx, l.terminal(), question)
		if errors.Is(err, io.EOF) {
			return errNotConfirmed
		}
		if err != nil {
			return fmt.Errorf("ask whether the fingerprint is right: %w", err)
		}
		answer = strings.TrimSpace(answer)
		if given, err := identity.ParseFingerprint(answer); err == nil {
			if given != seen.Pin {
				return &client.WrongControllerError{URL: where, Want: given, Got: seen.Pin, Err: identity.ErrWrongPin}
			}
			return nil
		}
		switch strings.ToLower(answer) {
		case "yes":
			return nil
		case "no":
			return errNotConfirmed
		}
		question = "Write yes or no, or the fingerprint from the controller: "
	}
}

// token is the one of this run, or what a person types.
func (l *loginRun) token(ctx context.Context) (string, error) {
	if l.given != "" {
		text := strings.TrimSpace(l.given)
		return text, checkToken(text)
	}
	text, _, err := l.givenToken()
	if err != nil || text != "" {
		return text, err
	}
	tty := l.terminal()
	if tty == nil {
		return "", errors.New("there is no terminal to ask for the token on: give it with --token-file FILE (- is standard input), or RAID_TOKEN; " +
			"--ca-only is for a controller that asks for none")
	}
	if text, err = l.askSecret(ctx, tty, "Token (not shown; on the controller: sudo raidctl access create NAME --scope write): "); err != nil {
		return "", fmt.Errorf("ask for the token: %w", err)
	}
	text = strings.TrimSpace(text)
	return text, checkToken(text)
}

// try asks the controller whether it takes the token.
func (l *loginRun) try(ctx context.Context, now *login) (s client.Status, err error) {
	l.target = now.target()
	l.target.from = "" // the advice about a login that does not work any more is not for this one
	if l.client, err = l.newClient(l.target); err != nil {
		return s, err
	}
	s, err = l.client.Status(ctx)
	switch {
	case client.StatusOf(err) == http.StatusUnauthorized && now.Token == "":
		err = fmt.Errorf("%w. Log in without --ca-only", err)
	case client.StatusOf(err) == http.StatusUnauthorized:
		err = fmt.Errorf("%w. Make another one on the controller: sudo raidctl access create NAME --scope write", err)
	}
	return s, err
}

func (l *loginRun) report(now *login, s client.Status) error {
	if l.json {
		fingerprint := ""
		if now.Pin != nil {
			fingerprint = now.Pin.Fingerprint()
		}
		return writeJSON(l.stdout, map[string]any{"url": now.URL, "fingerprint": fingerprint, "array": s.Array})
	}
	if l.clockIsWrong() {
		fmt.Fprintf(l.stderr, "raidctl: this machine's clock says %s, which can't be; the controller is known by its fingerprint all the same. Set it: timedatectl\n", l.clockDate())
	}
	_, err := fmt.Fprintf(l.stdout, "Logged in to array %s at %s.\n", printable(string(s.Array)), now.URL)
	if canOpen(l.defaultSocket) {
		fmt.Fprintf(l.stderr, "raidctl: as this user, raidctl goes on to use the controller of this machine (%s); for the one that you logged in to, add --controller %s\n", l.defaultSocket, now.URL)
	}
	return err
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the login: controller, fingerprint and token",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return a.logout() },
	}
}

func (a *app) logout() error {
	before, _ := readLogin() // forgetting works for one that can't be read too
	was, err := forgetLogin()
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, map[string]any{"logged_out": was})
	}
	if before != nil && before.Token != "" && a.watched {
		id, _, _ := raid.ParseAccessToken(before.Token)
		fmt.Fprintf(a.stderr, "The token stays good for whoever has it. To end it, on the controller: sudo raidctl access revoke %s\n", id)
	}
	return nil
}
