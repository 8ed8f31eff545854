package raidctl

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// group is a command that stands for those below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name())
	}
	g := &cobra.Command{
		Use: use, Short: short,
		// cobra shows help and reports success for "raidctl token nonsense".
		Args: func(_ *cobra.Command, args []string) error {
			what := strings.Join(names, ", ")
			if len(args) > 0 {
				return fmt.Errorf("%q is no command of raidctl %s; there are %s", args[0], use, what)
			}
			return fmt.Errorf("say what to do: raidctl %s and one of %s", use, what)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	g.AddCommand(commands...)
	return g
}
