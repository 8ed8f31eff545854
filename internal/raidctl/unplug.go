package raidctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
)

// errKeepOn makes unplug end with exitUnavailable.
var errKeepOn = errors.New("the node must stay on")

func (a *app) unplugCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unplug NODE",
		Short: "Ask whether a node may be unplugged now",
		Long: "Ask whether a node may be unplugged now, for a while. NODE is its host name, its id or the beginning of it.\n" +
			"The exit status is 0 when it may, and 5 when something that can be read now could not be read then, or an\n" +
			"upload would fail; what to wait for is said. To take a node away for good: raidctl node drain.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.unplug(cmd.Context(), args[0]) },
	}
}

func (a *app) unplug(ctx context.Context, arg string) error {
	n, err := a.findNode(ctx, arg)
	if err != nil {
		return err
	}
	u, err := a.client.Unplug(ctx, n.ID)
	if err != nil {
		return err
	}
	if a.json {
		err = writeJSON(a.stdout, u)
	} else {
		_, err = fmt.Fprintln(a.stdout, unplugText(u))
	}
	if err == nil && !u.Safe {
		return said{errKeepOn}
	}
	return err
}

// unplugText is the answer in a line.
func unplugText(u client.Unplug) string {
	if u.Safe {
		return "yes: " + printableLine(u.Text)
	}
	return "no: " + printableLine(u.Text)
}
