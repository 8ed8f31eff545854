package service

import (
	"errors"
	"flag"
	"fmt"
	"strings"
)

// ParseFlags reads flags as fs.Parse does, up to the first word that is none, and
// returns that and all behind it. Its errors are for people; flag.ErrHelp asks for
// help.
func ParseFlags(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		word := args[i]
		if len(word) < 2 || word[0] != '-' {
			return args[i:], nil
		}
		if word == "--" {
			return args[i+1:], nil
		}
		name, value, given := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
		f := fs.Lookup(name)
		switch {
		case f == nil && (name == "help" || name == "h"):
			return nil, flag.ErrHelp
		case f == nil:
			return nil, fmt.Errorf("there is no flag %.80q", "--"+name)
		case !given && isSwitch(f):
			value = "true"
		case !given && i+1 == len(args):
			return nil, fmt.Errorf("--%s needs a value behind it", name)
		case !given:
			i++
			value = args[i]
		}
		if err := fs.Set(name, value); err != nil {
			return nil, flagError(f, value, err)
		}
	}
	return nil, nil
}

func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// flagError puts into words what package flag says of its own types. Those of others
// speak for themselves.
func flagError(f *flag.Flag, value string, err error) error {
	getter, ok := f.Value.(flag.Getter)
	if !ok {
		return fmt.Errorf("--%s: %w", f.Name, err)
	}
	switch getter.Get().(type) {
	case bool:
		return fmt.Errorf("--%s: %.80q is neither true nor false; --%s alone is true", f.Name, value, f.Name)
	case int, int64, uint, uint64:
		return fmt.Errorf("--%s: %.80q is no whole number, or too large a one", f.Name, value)
	}
	return errors.New("--" + f.Name + " has a value that is not understood")
}
