package raidctl

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/raidpi/raidpi/internal/reason"
)

// terminal is the terminal at which a person sits, nil when nobody does.
func (a *app) terminal() *os.File {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// ask reads an answer from a terminal.
func (a *app) ask(ctx context.Context, tty *os.File, question string) (string, error) {
	fmt.Fprint(a.stderr, question)
	return await(ctx, func() (string, error) { return readLine(tty) })
}

// askSecret does so without showing what is typed.
func (a *app) askSecret(ctx context.Context, tty *os.File, question string) (string, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("prepare the terminal: %w", err)
	}
	// Also when Ctrl-C ends the wait: a shell that shows nothing would be left.
	defer func() { _ = term.Restore(fd, before) }()
	fmt.Fprint(a.stderr, question)
	text, err := await(ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
	fmt.Fprintln(a.stderr) // the Enter was not shown either
	return text, err
}

// errInterrupted ends what waited for a person.
var errInterrupted = reason.Worded("interrupted", context.Canceled)

// await waits for a read, or for the end of the context. Then the read goes on in
// vain, until the process ends: nothing can call it off.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}
