package raidctl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// plainUsage has a command and all below it say in a person's words what is wrong with
// a command line.
func plainUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagWords(cmd, err) })
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return argWords(cmd, args, check(cmd, args)) }
	}
	for _, below := range cmd.Commands() {
		plainUsage(below)
	}
}

// flagWords says what is wrong with a flag.
func flagWords(cmd *cobra.Command, err error) error {
	var none *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	var number *strconv.NumError
	switch {
	case errors.As(err, &none):
		name := none.GetSpecifiedName()
		dashes := "--"
		if none.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return fmt.Errorf("%s has no flag %s%s", cmd.CommandPath(), dashes, printable(name))
	case errors.As(err, &empty):
		return fmt.Errorf("--%s needs a value behind it", empty.GetFlag().Name)
	case errors.As(err, &bad):
		flag := bad.GetFlag()
		if !errors.As(err, &number) {
			return fmt.Errorf("--%s %q: %w", flag.Name, bad.GetValue(), bad.Unwrap())
		}
		if flag.Value.Type() == "bool" {
			return fmt.Errorf("--%s %q: it is true or false, and --%s alone is true", flag.Name, bad.GetValue(), flag.Name)
		}
		return fmt.Errorf("--%s %q is no whole number, or too large a one", flag.Name, bad.GetValue())
	}
	return errors.New("a flag is written --name or --name VALUE")
}

// argWords puts in other words what cobra says of a number of arguments. Ours stay.
func argWords(cmd *cobra.Command, args []string, err error) error {
	if err == nil || !isCobras(err) {
		return err
	}
	line := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	if len(args) == 0 {
		return fmt.Errorf("something is missing: %s", line)
	}
	return fmt.Errorf("these are too few or too many words: %s", line)
}

// isCobras tells cobra's errors about arguments, which have no type.
func isCobras(err error) bool {
	return strings.Contains(err.Error(), "arg(s)") || strings.HasPrefix(err.Error(), "unknown command")
}

// rootArgs says which command may have been meant.
func rootArgs(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("raidctl has no command %q", args[0])
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}
