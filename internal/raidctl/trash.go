package raidctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
)

func (a *app) undeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "undelete ID...",
		Short: "Put deleted files back",
		Long:  "Put deleted files back, as they were. raidctl trash ls shows which can be.",
		Args:  cobra.MatchAll(cobra.MinimumNArgs(1), idArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, func(arg string) error {
				f, err := a.client.Undelete(cmd.Context(), idOf(arg))
				if err != nil || !a.json {
					return err
				}
				return writeJSON(a.stdout, f)
			})
		},
	}
}

func (a *app) trashCommand() *cobra.Command {
	return group("trash", "Show deleted files, or have them go for good", a.trashLsCommand(), a.trashEmptyCommand())
}

func (a *app) trashLsCommand() *cobra.Command {
	var q client.Query
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List deleted files that can be put back",
		Args: func(cmd *cobra.Command, args []string) error {
			if q.Limit < 0 {
				return errors.New("--limit is a number of files, from 1 on")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trashLs(cmd.Context(), q) },
	}
	cmd.Flags().StringVar(&q.Filename, "filter", "", "only files whose name contains `TEXT`")
	cmd.Flags().Int64Var(&q.Limit, "limit", 0, "at most `N` files")
	cmd.Flags().Int64Var((*int64)(&q.After), "after", 0, "only files with an id above `ID`")
	return cmd
}

// trashLs prints the list as it comes, as ls does.
func (a *app) trashLs(ctx context.Context, q client.Query) error {
	w := bufio.NewWriter(a.stdout)
	const format = "%8v  %10s  %-19s  %-12s  %s\n"
	if !a.json {
		fmt.Fprintf(w, format, "ID", "SIZE", "DELETED (UTC)", "GOES IN", "NAME")
	}
	n := 0
	for f, err := range a.client.Trash(ctx, q) {
		if err != nil {
			_ = w.Flush() // what came is right
			return err
		}
		if a.json {
			err = writeJSON(w, f)
		} else {
			left := humanDuration(time.Duration(f.SecondsLeft) * time.Second)
			_, err = fmt.Fprintf(w, format, f.ID, humanSize(f.Size), printable(f.Deleted), left, printable(f.Filename))
		}
		if n++; err == nil && n%500 == 0 {
			err = w.Flush()
		}
		if err != nil {
			return err
		}
	}
	return w.Flush()
}

func (a *app) trashEmptyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "empty",
		Short: "Have all deleted files go for good",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			gone, err := a.client.EmptyTrash(cmd.Context())
			switch {
			case err != nil:
				return err
			case a.json:
				return writeJSON(a.stdout, gone)
			}
			_, err = fmt.Fprintf(a.stdout, "%s gone for good, %s\n", plural(gone.Files, "file"), humanSize(gone.Bytes))
			return err
		},
	}
}
