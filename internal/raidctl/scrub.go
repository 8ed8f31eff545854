package raidctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) scrubCommand() *cobra.Command {
	return group("scrub", "Have nodes read all that they keep, and show what is rotten", a.scrubStartCommand(), a.scrubPauseCommand(), a.scrubStatusCommand())
}

func (a *app) scrubStartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "start [NODE...]",
		Short: "Have nodes read all that they keep now",
		Long: "Have nodes read all that they keep now, or go on after a pause; without NODE all of them. They do so by\n" +
			"themselves as often as scrub_every in the controller's configuration says. Requests come first.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.scrub(cmd.Context(), args, "start", a.client.StartScrub)
		},
	}
}

func (a *app) scrubPauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [NODE...]",
		Short: "Have nodes stop that until they are started again",
		Long:  "Stop nodes from reading all that they keep, until raidctl scrub start; without NODE all of them.\nThis also holds over restarts.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.scrub(cmd.Context(), args, "pause", a.client.PauseScrub)
		},
	}
}

// scrub does something with the scrub of some nodes, or of all.
func (a *app) scrub(ctx context.Context, args []string, what string, do func(context.Context, raid.NodeID) error) error {
	if len(args) == 0 {
		if err := do(ctx, ""); err != nil {
			return err
		}
		return a.tell(map[string]any{"scrub": what})
	}
	return a.each(ctx, args, func(arg string) error {
		n, err := a.findNode(ctx, arg)
		if err != nil {
			return err
		}
		if err := do(ctx, n.ID); err != nil {
			return err
		}
		return a.tell(map[string]any{"id": n.ID, "scrub": what})
	})
}

func (a *app) scrubStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Show how far nodes are with it",
		Long:  "Show how far nodes are with reading all that they keep, and how many chunks they found bad.",
		RunE:  func(cmd *cobra.Command, args []string) error { return a.scrubStatus(cmd.Context(), args) },
	}
}

func (a *app) scrubStatus(ctx context.Context, args []string) error {
	s, err := a.client.Scrub(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		var ids []raid.NodeID
		for _, arg := range args {
			n, err := a.findNode(ctx, arg)
			if err != nil {
				return err
			}
			ids = append(ids, n.ID)
		}
		s.Nodes = slices.DeleteFunc(s.Nodes, func(n client.NodeScrub) bool { return !slices.Contains(ids, n.Node) })
	}
	if a.json {
		return jsonLines(a.stdout, s.Nodes)
	}
	slices.SortStableFunc(s.Nodes, func(a, b client.NodeScrub) int { return strings.Compare(a.Name, b.Name) })
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tREAD\tBAD\tTIME LEFT\tLAST BEGAN (UTC)")
	for _, n := range s.Nodes {
		fmt.Fprintln(w, strings.Join(scrubCells(n), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if s.OldestVerified != "" && len(args) == 0 {
		_, err = fmt.Fprintf(a.stdout, "every copy was read or stored since %s UTC\n", printable(s.OldestVerified))
	}
	return err
}

// scrubCells is a line of the table.
func scrubCells(n client.NodeScrub) []string {
	name := n.Name
	if name == "" {
		name = string(n.Node)
	}
	read, left, began := "-", "-", "never"
	if n.OfChunks > 0 && n.State != raid.ScrubWaiting {
		read = fmt.Sprintf("%s of %s", humanSize(n.CheckedBytes), humanSize(n.OfBytes))
	}
	switch {
	case n.SecondsLeft != nil:
		left = humanDuration(time.Duration(*n.SecondsLeft) * time.Second)
	case n.NextSeconds != nil:
		left = "due in " + humanDuration(time.Duration(*n.NextSeconds)*time.Second)
	}
	if n.LastBegan != nil {
		began = printable(*n.LastBegan)
	}
	return []string{printable(name), printable(string(n.State)), read, fmt.Sprint(max(n.BadChunks, n.FoundBad)), left, began}
}
