package raidctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
)

// eventWish says which events somebody wants to see.
type eventWish struct {
	limit  int // the newest so many; 0: all
	since  moment
	kinds  []string
	follow bool
}

// usualEvents is the number of events that are shown unless another one is given.
const usualEvents = 50

func (a *app) eventsCommand() *cobra.Command {
	var w eventWish
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to the array",
		Long: "Show what happened to the array, the newest last: what it was, and under it what to do about it.\n" +
			"Times are UTC, by the controller's clock. Without --since, the newest 50 are shown.",
		Args: func(cmd *cobra.Command, args []string) error {
			if w.limit < 0 {
				return errors.New("--limit is a number of events, from 1 on; 0 is all")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("limit") && w.since.given() {
				w.limit = 0
			}
			return a.events(cmd.Context(), w)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&w.follow, "follow", "f", false, "go on with what happens from now on, until Ctrl-C")
	flags.Var(&w.since, "since", "only what happened after `TIME`: as long ago as 2h or 7d, or at 2026-12-24 or \"2026-12-24 18:00:00\" (UTC)")
	flags.StringSliceVar(&w.kinds, "kind", nil, "only events of this `KIND`, such as node-down; may be given several times")
	flags.IntVarP(&w.limit, "limit", "n", usualEvents, "the newest `N` events; 0 is all")
	return cmd
}

func (a *app) events(ctx context.Context, wish eventWish) error {
	all, last, err := a.pastEvents(ctx, wish)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(a.stdout)
	for _, e := range all {
		if err := a.showEvent(out, e); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil || !wish.follow {
		return err
	}
	told := false
	return a.client.FollowEvents(ctx, last, func(e client.Event) error {
		told = false
		if !wish.wants(e) {
			return nil
		}
		if err := a.showEvent(out, e); err != nil {
			return err
		}
		return out.Flush()
	}, func(err error) {
		if a.watched && !told {
			fmt.Fprintf(a.stderr, "the connection is lost (%s); it is tried again, and nothing is missed\n", printable(err.Error()))
		}
		told = true
	})
}

// pastEvents are the events that are wanted of those that there are, and the number of
// the last one that there is.
func (a *app) pastEvents(ctx context.Context, wish eventWish) (all []client.Event, last int64, err error) {
	if !wish.since.given() && len(wish.kinds) == 0 && wish.limit > 0 && wish.limit <= 1000 {
		all, err = a.client.LastEvents(ctx, wish.limit)
		if n := len(all); n > 0 {
			last = all[n-1].Seq
		}
		return all, last, err
	}
	for e, err := range a.client.Events(ctx, 0) {
		if err != nil {
			return nil, 0, err
		}
		if last = e.Seq; !wish.wants(e) || e.At < wish.since.text(a.clock()) {
			continue
		}
		if all = append(all, e); wish.limit > 0 && len(all) > wish.limit {
			all = all[1:]
		}
	}
	return all, last, nil
}

func (w eventWish) wants(e client.Event) bool {
	return len(w.kinds) == 0 || slices.Contains(w.kinds, string(e.Kind))
}

// showEvent writes a line for what happened, and one for what to do.
func (a *app) showEvent(out io.Writer, e client.Event) error {
	if a.json {
		return writeJSON(out, e)
	}
	_, err := fmt.Fprintf(out, "%s  %-15s  %s\n", printable(e.At), printable(string(e.Kind)), printable(e.Text))
	if err == nil && e.Advice != "" {
		_, err = fmt.Fprintf(out, "%21s%-15s  %s\n", "", "", printable(e.Advice))
	}
	return err
}

// moment is a flag: a time of day, or how long ago.
type moment struct {
	at  string // UTC, as events have it; empty: not given
	ago time.Duration
}

func (m *moment) given() bool { return m.at != "" || m.ago > 0 }

// text is the time as events have it.
func (m *moment) text(now time.Time) string {
	if m.ago > 0 {
		return now.UTC().Add(-m.ago).Format(time.DateTime)
	}
	return m.at
}

// String implements pflag.Value.
func (m *moment) String() string {
	if m.ago > 0 {
		l := lifetime(m.ago)
		return l.String()
	}
	return m.at
}

// Type implements pflag.Value.
func (m *moment) Type() string { return "time" }

// Set implements pflag.Value.
func (m *moment) Set(s string) error {
	for _, layout := range []string{time.DateTime, time.DateOnly, "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			*m = moment{at: t.UTC().Format(time.DateTime)}
			return nil
		}
	}
	var ago lifetime
	if err := ago.Set(s); err != nil || ago == 0 {
		return errors.New("write how long ago, such as 30m, 2h or 7d, or a time in UTC, such as 2026-12-24 or \"2026-12-24 18:00:00\"")
	}
	*m = moment{ago: time.Duration(ago)}
	return nil
}
