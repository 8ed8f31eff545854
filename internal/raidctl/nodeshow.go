package raidctl

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
)

func (a *app) nodeShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show NODE",
		Short: "Show all that is known of a node",
		Long: "Show all that is known of a node: how it is, what rests on it, and whether it may be unplugged now.\n" +
			"NODE is its host name, its id or the beginning of it.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.nodeShow(cmd.Context(), args[0]) },
	}
}

func (a *app) nodeShow(ctx context.Context, arg string) error {
	n, err := a.findNode(ctx, arg)
	if err != nil {
		return err
	}
	d, err := a.client.Node(ctx, n.ID)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, d)
	}
	return showNode(a.stdout, d)
}

func showNode(out io.Writer, d client.NodeDetail) error {
	w := bufio.NewWriter(out)
	row := func(name, value string) { fmt.Fprintf(w, "%-10s %s\n", name, value) }
	cells := nodeCells(d.Node)
	state := cells[1]
	if d.Lost {
		state += ", lost: its copies are made again elsewhere"
	}
	row("node", nodeName(d.Node))
	row("id", printable(string(d.ID)))
	row("state", state)
	if d.Problem != "" {
		row("problem", printable(d.Problem))
	}
	row("files", plural(d.Files, "file")+" with a copy on it")
	row("chunks", cells[4])
	row("space", cells[2]+" free of "+cells[3])
	if d.TrashChunks > 0 {
		row("trash", strconv.FormatInt(d.TrashChunks, 10)+" chunks, "+humanSize(d.TrashBytes))
	}
	wearRows(row, d.Node)
	row("zone", cells[5])
	row("kind", cells[7])
	row("address", cells[8])
	row("version", cells[9])
	row("last seen", cells[10])
	row("unplug", unplugText(d.Unplug))
	return w.Flush()
}
