package raidctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) lsCommand() *cobra.Command {
	var q client.Query
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the files",
		Args: func(cmd *cobra.Command, args []string) error {
			if q.Limit < 0 {
				return errors.New("--limit is a number of files, from 1 on")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.ls(cmd.Context(), q) },
	}
	cmd.Flags().StringVar(&q.Filename, "filter", "", "only files whose name contains `TEXT`")
	cmd.Flags().Int64Var(&q.Limit, "limit", 0, "at most `N` files")
	cmd.Flags().Int64Var((*int64)(&q.After), "after", 0, "only files with an id above `ID`")
	cmd.Flags().BoolVar(&q.Lost, "lost", false, "only files that can't be had any more: no node has a good copy of some part")
	return cmd
}

// ls prints the list as it comes, so its columns have fixed widths; a longer
// cell moves the rest of its line.
func (a *app) ls(ctx context.Context, q client.Query) error {
	w := bufio.NewWriter(a.stdout)
	const format = "%8v  %10s  %-19s  %-8s  %s\n"
	header := func() {
		if !a.json {
			fmt.Fprintf(w, format, "ID", "SIZE", "CREATED (UTC)", "STATE", "NAME")
		}
	}
	n := 0
	for f, err := range a.client.List(ctx, q) {
		if err != nil {
			_ = w.Flush() // what came is right
			return err
		}
		if n == 0 {
			header()
		}
		if a.json {
			err = writeJSON(w, f)
		} else {
			_, err = fmt.Fprintf(w, format, f.ID, humanSize(f.Size), printable(f.Created), fileState(f), printable(f.Filename))
		}
		if n++; err == nil && n%500 == 0 {
			err = w.Flush()
		}
		if err != nil {
			return err
		}
	}
	if n == 0 {
		header() // there are none, and it could be asked
	}
	return w.Flush()
}

// fileState says in a word how well a file is kept.
func fileState(f client.File) string {
	switch {
	case f.Degraded && f.Lab:
		return "degraded,lab"
	case f.Degraded:
		return "degraded"
	case f.Lab:
		return "lab"
	}
	return "ok"
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info ID...",
		Short: "Describe files",
		Args:  cobra.MatchAll(cobra.MinimumNArgs(1), idArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			first := true
			return a.each(cmd.Context(), args, func(arg string) error {
				f, err := a.client.Info(cmd.Context(), idOf(arg))
				if err != nil {
					return err
				}
				if a.json {
					return writeJSON(a.stdout, f)
				}
				if !first {
					fmt.Fprintln(a.stdout)
				}
				first = false
				return a.info(f)
			})
		},
	}
}

// maxChunks is the number of a part's chunk names that are worth reading.
const maxChunks = 8

func (a *app) info(f client.File) error {
	w := bufio.NewWriter(a.stdout)
	row := func(name, value string) { fmt.Fprintf(w, "%-13s %s\n", name, value) }
	row("id", strconv.FormatInt(int64(f.ID), 10))
	row("name", printable(f.Filename))
	row("size", fmt.Sprintf("%s (%s)", humanSize(f.Size), plural(f.Size, "byte")))
	row("content type", printable(f.ContentType))
	row("created", printable(f.Created)+" UTC")
	row("sha256", printable(f.SHA256))
	row("state", fileState(f))
	if f.Verified != "" {
		row("verified", printable(f.Verified)+" UTC")
	}
	row("stripes", strconv.FormatInt(f.Stripes, 10))
	part := "part"
	if len(f.Parts) == 2 {
		part = "half"
	}
	for i, names := range f.Parts {
		label := fmt.Sprintf("%s %d", part, i+1)
		switch n := strings.Count(names, ",") + 1; {
		case names == "":
			row(label, "-")
		case n > maxChunks:
			row(label, plural(int64(n), "chunk")+" (--json names them)")
		default:
			row(label, printable(strings.ReplaceAll(names, ",", " ")))
		}
	}
	return w.Flush()
}

func (a *app) rmCommand() *cobra.Command {
	purge := false
	cmd := &cobra.Command{
		Use:   "rm ID...",
		Short: "Delete files",
		Long:  "Delete files. For a while they are in the trash, from which raidctl undelete takes them back.",
		Args:  cobra.MatchAll(cobra.MinimumNArgs(1), idArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, func(arg string) error {
				remove := a.client.Delete
				if purge {
					remove = a.client.Purge
				}
				if err := remove(cmd.Context(), idOf(arg)); err != nil {
					return err
				}
				if a.json {
					return writeJSON(a.stdout, map[string]any{"id": idOf(arg), "deleted": true})
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "for good, at once; also what is in the trash already")
	return cmd
}

// idArgs checks that all arguments are ids.
func idArgs(_ *cobra.Command, args []string) error {
	for _, arg := range args {
		if idOf(arg) == 0 {
			return fmt.Errorf("%q is no id: ids are whole numbers from 1 on; raidctl ls shows them", arg)
		}
	}
	return nil
}

// idOf reads an id; 0 when it is none.
func idOf(arg string) raid.FileID {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return raid.FileID(n)
}
