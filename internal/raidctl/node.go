package raidctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) nodeCommand() *cobra.Command {
	return group("node", "List nodes, say where they stand, drain, replace and remove them", a.nodeLsCommand("ls"), a.nodeShowCommand(), a.nodeZoneCommand(),
		a.nodeAcceptCommand(), a.nodeRenameCommand(), a.nodeDrainCommand(), a.nodeUndrainCommand(), a.nodeReplaceCommand(),
		a.nodeRemoveCommand(), a.nodeRotateCommand())
}

// nodesCommand is raidctl node ls under its older name.
func (a *app) nodesCommand() *cobra.Command { return a.nodeLsCommand("nodes") }

func (a *app) nodeLsCommand(name string) *cobra.Command {
	wide := false
	cmd := &cobra.Command{
		Use:   name,
		Short: "List the nodes",
		Long: "List the nodes. Other commands take a node by its name, or by its id or the beginning of it.\n" +
			"--wide shows whole ids, addresses and versions too.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			nodes, err := a.client.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return jsonLines(a.stdout, nodes)
			}
			err = nodeTable(a.stdout, nodes, wide)
			if err == nil && a.watched {
				a.hintFull(nodes)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&wide, "wide", "w", false, "all that is known, in more than 80 columns")
	return cmd
}

// hintFull tells which nodes are nearly full.
func (a *app) hintFull(nodes []client.Node) {
	for _, n := range nodes {
		if n.State != raid.Down && raid.NearlyFull(n.FreeBytes, n.TotalBytes) {
			fmt.Fprintf(a.stderr, "%s is nearly full: add a node soon, or delete files\n", nodeName(n))
		}
	}
}

func (a *app) nodeRemoveCommand() *cobra.Command {
	var order raid.RemoveOrder
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the array for good",
		Long: "Take a node out of the array for good. NODE is its id, the beginning of it, or its host name.\n" +
			"Its connections are cut, and it can't come back under this id. What it kept is made anew on other\n" +
			"nodes. One that has copies of files is removed only with --force; and if files would be lost since no\n" +
			"other node that is up has a copy, only when you say how many, with --lose or when you are asked.",
		Args: func(cmd *cobra.Command, args []string) error {
			if order.Lose < 0 {
				return errors.New("--lose is a number of files, from 0 on")
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.nodeRemove(cmd.Context(), args[0], order) },
	}
	cmd.Flags().BoolVar(&order.Force, "force", false, "even though it has copies of files")
	cmd.Flags().Int64Var(&order.Lose, "lose", 0, "lose so many `files` for good; it must be as many as the controller finds")
	return cmd
}

func (a *app) nodeRemove(ctx context.Context, arg string, order raid.RemoveOrder) error {
	n, err := a.findNode(ctx, arg)
	if err != nil {
		return err
	}
	err = a.client.RemoveNode(ctx, n.ID, order)
	if a.confirmLoss(ctx, err, &order) {
		err = a.client.RemoveNode(ctx, n.ID, order)
	}
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, map[string]any{"id": n.ID, "removed": true})
	}
	_, err = fmt.Fprintf(a.stdout, "removed %s\n", nodeLabel(n))
	return err
}

// confirmLoss asks whoever has said --force at a terminal, and no number, for the
// number of files that would be lost. The controller compares it once more.
func (a *app) confirmLoss(ctx context.Context, err error, order *raid.RemoveOrder) bool {
	var refused *client.Error
	tty := a.terminal()
	if !errors.As(err, &refused) || refused.Lose == 0 || !order.Force || order.Lose != 0 || tty == nil {
		return false
	}
	fmt.Fprintf(a.stderr, "%s\n", printable(refused.Message))
	answer, err := a.ask(ctx, tty, "To lose them for good, type how many files that are: ")
	if err != nil {
		return false
	}
	order.Lose, err = strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
	return err == nil && order.Lose == refused.Lose
}

func (a *app) nodeRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate NODE...",
		Short: "Have nodes draw new keys",
		Long: "Have nodes draw new keys, each with its next heartbeat; the new one is used from its next connection on.\n" +
			"NODE is an id, the beginning of it, or a host name.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, func(arg string) error {
				n, err := a.findNode(cmd.Context(), arg)
				if err != nil {
					return err
				}
				if err := a.client.RotateNode(cmd.Context(), n.ID); err != nil {
					return err
				}
				return a.tell(map[string]any{"id": n.ID, "rotate": true})
			})
		},
	}
}

// noNodeError says that a name fits no node, or several.
type noNodeError struct{ text string }

func (e noNodeError) Error() string { return e.text }

// findNode returns the node that somebody means. It is named by its id, its host name, or the
// beginning of its id, if that is only one's. An id that is not listed, as that of a node which was
// removed, is left for the controller to judge.
func (a *app) findNode(ctx context.Context, arg string) (client.Node, error) {
	all, err := a.client.Nodes(ctx)
	if err != nil {
		return client.Node{}, err
	}
	for _, fits := range []func(client.Node) bool{
		func(n client.Node) bool { return string(n.ID) == arg },
		func(n client.Node) bool { return strings.EqualFold(n.Name, arg) },
		func(n client.Node) bool { return strings.HasPrefix(string(n.ID), arg) },
	} {
		var found []client.Node
		for _, n := range all {
			if fits(n) {
				found = append(found, n)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			var labels []string
			for _, n := range found {
				labels = append(labels, nodeLabel(n))
			}
			return client.Node{}, noNodeError{fmt.Sprintf("%q may be %s: write more of the id", arg, strings.Join(labels, " or "))}
		}
	}
	if _, err := raid.DecodeID(arg); err == nil {
		return client.Node{ID: raid.NodeID(arg)}, nil
	}
	return client.Node{}, noNodeError{fmt.Sprintf("there is no node %q; raidctl node ls shows them", arg)}
}

func nodeLabel(n client.Node) string {
	if n.Name == "" {
		return printable(string(n.ID))
	}
	return fmt.Sprintf("%s (%s)", printable(string(n.ID)), printable(n.Name))
}
