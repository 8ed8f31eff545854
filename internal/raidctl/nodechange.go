package raidctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) nodeZoneCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "zone NODE ZONE",
		Short: "Say where a node stands: copies go to different zones",
		Long: "Say where a node stands. The two copies of a half go to nodes of different zones where they can, so that\n" +
			"what hits one room leaves the other. The word in a node's own configuration only proposes a zone.\n" +
			"ZONE is any name of at most 64 bytes; \"\" is the zone without a name. Copies that are there stay.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.findNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.nodeChange(cmd.Context(), n, client.NodeChange{Zone: &args[1]}, fmt.Sprintf("%s is in zone %q", nodeLabel(n), args[1]))
		},
	}
}

func (a *app) nodeRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rename NODE NAME",
		Short: "Call a node by another name than its machine's",
		Long: "Call a node by another name than its machine's. \"\" is the machine's own name again, which is followed when\n" +
			"it changes.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.findNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.nodeChange(cmd.Context(), n, client.NodeChange{Name: &args[1]}, fmt.Sprintf("%s is called %q", nodeLabel(n), args[1]))
		},
	}
}

func (a *app) nodeAcceptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accept NODE",
		Short: "Use the whole of a larger disk that a node has got",
		Long: "Use the whole of a larger disk that a node has got. A node is given no more than fits on the disk with which\n" +
			"it joined, until somebody says that there is another one: its own word is not enough for that.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.nodeAccept(cmd.Context(), args[0]) },
	}
}

func (a *app) nodeAccept(ctx context.Context, arg string) error {
	n, err := a.findNode(ctx, arg)
	if err != nil {
		return err
	}
	if n.Claimed == 0 {
		return fmt.Errorf("node %s shows no larger disk than the %s that are in use", nodeLabel(n), humanSize(n.TotalBytes))
	}
	// The number that was seen, so that a node can't show another one meanwhile.
	return a.nodeChange(ctx, n, client.NodeChange{Accept: &n.Claimed}, fmt.Sprintf("the disk of %s counts for %s", nodeLabel(n), humanSize(n.Claimed)))
}

func (a *app) nodeChange(ctx context.Context, n client.Node, to client.NodeChange, done string) error {
	if err := a.client.ChangeNode(ctx, n.ID, to); err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, struct {
			ID raid.NodeID `json:"id"`
			client.NodeChange
		}{n.ID, to})
	}
	_, err := fmt.Fprintln(a.stdout, done)
	return err
}
