package raidctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/service"
)

// errNotReady makes status end with exitUnavailable.
var errNotReady = errors.New("the array is not ready")

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the array is",
		Long:  "Show how the array is. The exit status is 5 when some file can't be read, or none can be stored.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

func (a *app) status(ctx context.Context) error {
	s, err := a.client.Status(ctx)
	if err != nil {
		return err
	}
	if a.json {
		err = writeJSON(a.stdout, s)
	} else {
		err = showStatus(a.stdout, s)
	}
	if err == nil && !s.Ready {
		return said{errNotReady} // the table says so already
	}
	return err
}

func showStatus(out io.Writer, s client.Status) error {
	w := bufio.NewWriter(out)
	row := func(name, value string) { fmt.Fprintf(w, "%-10s %s\n", name, value) }
	row("array", orDash(string(s.Array)))
	row("controller", fmt.Sprintf("raid-controller %s, up for %s", orDash(s.Version), humanDuration(time.Duration(s.UptimeSeconds)*time.Second)))
	row("state", stateOf(s))
	row("nodes", nodeCounts(s.Nodes))
	for _, proposal := range s.Proposals {
		row("proposal", printable(proposal))
	}
	for _, warning := range s.Warnings {
		row("warning", printable(warning))
	}
	for _, c := range s.Clones {
		row("clone", fmt.Sprintf("of node %s at %s, refused (last %s UTC): run sudo raid-node reset-identity there, then join",
			printable(string(c.Node)), printable(c.Address), printable(c.LastRefused)))
	}
	space := fmt.Sprintf("%s free of %s", humanSize(s.FreeBytes), humanSize(s.TotalBytes))
	if s.RoomBytes != nil {
		space = fmt.Sprintf("%s more for files; on the nodes %s", humanSize(*s.RoomBytes), space)
	}
	row("space", space)
	files := fmt.Sprintf("%s, %s", plural(s.Files, "file"), humanSize(s.FileBytes))
	if s.DegradedFiles > 0 {
		files += fmt.Sprintf("; %d degraded, to be repaired", s.DegradedFiles)
	}
	row("files", files)
	if h := s.Healing; h != nil && h.PartsLeft > 0 {
		row("healing", healingRow(*h))
	}
	if t := s.Trash; t != nil && t.Files > 0 {
		row("trash", fmt.Sprintf("%s, %s; see raidctl trash ls", plural(t.Files, "deleted file"), humanSize(t.Bytes)))
	}
	if s.OldestVerified != "" {
		row("verified", "every copy was read or stored since "+printable(s.OldestVerified)+" UTC")
	}
	row("removals", plural(s.RemovalsQueued, "chunk")+" queued")
	row("transfers", plural(int64(s.Transfers), "transfer")+" under way")
	return w.Flush()
}

// healingRow says how far healing is.
func healingRow(h client.Healing) string {
	text := fmt.Sprintf("%s (%s) left", plural(h.PartsLeft, "part"), humanSize(h.BytesLeft))
	switch {
	case h.BlockedBy != "":
		return text + "; it can't go on: " + printable(h.BlockedBy)
	case h.BytesPerSecond > 0:
		text += fmt.Sprintf(", %s/s", humanSize(h.BytesPerSecond))
	}
	if h.SecondsLeft >= 0 {
		text += ", about " + humanDuration(time.Duration(h.SecondsLeft)*time.Second)
	}
	return text
}

// stateOf describes the array in a word and a sentence. An older controller has no word.
func stateOf(s client.Status) string {
	state := string(s.Health)
	switch {
	case state == "" && s.Ready:
		state = "ready"
	case state == "":
		state = "not ready"
	case !s.Ready:
		state += ", not ready"
	}
	if s.Message != "" {
		state += ": " + s.Message
	}
	return printable(state)
}

func nodeCounts(n client.NodeCounts) string {
	parts := []string{strconv.Itoa(n.Up) + " up"}
	for _, c := range []struct {
		n    int
		name string
	}{{n.Suspect, "suspect"}, {n.Down, "down"}, {n.Draining, "draining"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	s := strings.Join(parts, ", ")
	if n.Lab > 0 {
		s += fmt.Sprintf(" (%d of them lab peers)", n.Lab)
	}
	return s
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show raidctl's version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return writeJSON(a.stdout, map[string]string{"version": service.Version(a.version)})
			}
			_, err := fmt.Fprintln(a.stdout, service.VersionLine("raidctl", a.version))
			return err
		},
	}
}
