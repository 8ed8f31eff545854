package raidctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) nodeDrainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drain NODE",
		Short: "Move everything off a node that still works",
		Long: "Move everything off a node that still works. It gets nothing new, and its copies move to the other nodes,\n" +
			"also when machines are restarted meanwhile. Leave it on: raidctl nodes says how far it is, and when it may\n" +
			"be unplugged. It is refused, with what is missing, when the others are too few or have no room.\n" +
			"raidctl node undrain ends it at any time.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.nodeOrder(cmd.Context(), args[0], a.client.DrainNode, "draining", func(n client.Node) string {
				return fmt.Sprintf("everything moves off %s; raidctl nodes tells when it may be unplugged", nodeLabel(n))
			})
		},
	}
}

func (a *app) nodeUndrainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "undrain NODE",
		Short: "Let a node take copies again that was to be drained or replaced",
		Long: "Let a node take copies again that was to be drained or replaced. What was moved stays where it is, and the\n" +
			"node gets its share again. The line that raidctl node replace showed for it is good for nothing any more.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.nodeOrder(cmd.Context(), args[0], a.client.UndrainNode, "undrained", func(n client.Node) string {
				return nodeLabel(n) + " takes copies again"
			})
		},
	}
}

// nodeOrder has something done with a node.
func (a *app) nodeOrder(ctx context.Context, arg string, order func(context.Context, raid.NodeID) error, done string, text func(client.Node) string) error {
	n, err := a.findNode(ctx, arg)
	if err != nil {
		return err
	}
	if err := order(ctx, n.ID); err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, map[string]any{"id": n.ID, done: true})
	}
	_, err = fmt.Fprintln(a.stdout, text(n))
	return err
}

func (a *app) nodeReplaceCommand() *cobra.Command {
	life := lifetime(30 * time.Minute)
	cmd := &cobra.Command{
		Use:   "replace OLD",
		Short: "Put a new Pi in the place of a node, and print the line that joins it",
		Long: "Put a new Pi in the place of a node, dead or alive, and print the one line to paste on the new one.\n" +
			"When that has joined, what the old node holds moves to it; what a lost one held is made again there. Once\n" +
			"nothing rests on the old node any more it leaves the array by itself; raidctl nodes says what is waited for.\n" +
			"The line ends with its time, its use, or raid-controller's process: say it again for another one.\n" +
			"raidctl node undrain OLD ends the replacement.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.nodeReplace(cmd.Context(), args[0], time.Duration(life))
		},
	}
	cmd.Flags().Var(&life, "ttl", "the line is good for so long (`TIME` as 30m, 2h, 1d)")
	return cmd
}

func (a *app) nodeReplace(ctx context.Context, arg string, life time.Duration) error {
	n, err := a.findNode(ctx, arg)
	if err != nil {
		return err
	}
	t, err := a.client.ReplaceNode(ctx, n.ID, life)
	if err != nil {
		return err
	}
	if a.watched && !a.json {
		fmt.Fprintf(a.stderr, "It takes the place of %s, in its zone.\n", nodeLabel(n))
	}
	return a.showJoinToken(t)
}
