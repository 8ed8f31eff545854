package raidctl

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

// shortID is the length of an id in the narrow table; commands take the beginning of one.
const shortID = 6

// widths of the narrow table's columns. With the spaces between them they are a
// terminal's 80; numbers need no more.
const (
	nameWidth  = 16
	stateWidth = 9
	zoneWidth  = 8
)

// nodeTable lists nodes by their names, in 80 columns or with all that is known of them.
func nodeTable(out io.Writer, nodes []client.Node, wide bool) error {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, byName)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	header := "NAME\tSTATE\tFREE\tTOTAL\tCHUNKS\tZONE\tID"
	if wide {
		header = "NAME\tSTATE\tFREE\tTOTAL\tCHUNKS\tZONE\tID\tKIND\tADDRESS\tVERSION\tLAST SEEN (UTC)"
	}
	fmt.Fprintln(w, header)
	for _, n := range nodes {
		cells := nodeCells(n)
		if !wide {
			cells = narrow(cells)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range nodes {
		if n.BadChunks > 0 {
			if _, err := fmt.Fprintf(out, "%s: %s of its own found bad; good copies replace them\n", nodeName(n), plural(n.BadChunks, "chunk")); err != nil {
				return err
			}
		}
		if n.Wear != nil && n.Wear.Worn {
			if _, err := fmt.Fprintf(out, "%s: its disk is nearly worn out; raidctl node show tells more\n", nodeName(n)); err != nil {
				return err
			}
		}
		if n.Drain != "" {
			if _, err := fmt.Fprintf(out, "%s: %s\n", nodeName(n), printable(n.Drain)); err != nil {
				return err
			}
		}
		if n.Problem != "" {
			if _, err := fmt.Fprintf(out, "%s: %s\n", nodeName(n), printable(n.Problem)); err != nil {
				return err
			}
		}
	}
	return nil
}

// byName puts those without a name behind the others.
func byName(a, b client.Node) int {
	if (a.Name == "") != (b.Name == "") {
		return strings.Compare(b.Name, a.Name)
	}
	return strings.Compare(a.Name, b.Name)
}

// nodeName returns the name that people call a node by.
func nodeName(n client.Node) string {
	if n.Name == "" {
		return printable(string(n.ID)) // a lab peer's is its address
	}
	return printable(n.Name)
}

// nodeCells is all that is known of a node, in the order of the wide table.
func nodeCells(n client.Node) []string {
	state := printable(string(n.State))
	if n.ReadOnly && n.State == raid.Up {
		state = "read-only"
	}
	seen, free, total, chunks := "-", "-", "-", "-" // not known of a node that was not there yet
	if n.LastSeen != nil {
		seen, free, total, chunks = printable(*n.LastSeen), humanSize(n.FreeBytes), humanSize(n.TotalBytes), strconv.FormatInt(n.Chunks, 10)
	}
	return []string{nodeName(n), state, free, total, chunks, orDash(n.Zone), printable(string(n.ID)), printable(string(n.Kind)), orDash(n.Address), orDash(n.Version), seen}
}

// narrow cuts what is too wide for 80 columns.
func narrow(cells []string) []string {
	name, id := cells[0], cells[6]
	if utf8.RuneCountInString(id) > shortID {
		id = string([]rune(id)[:shortID])
	}
	return []string{cut(name, nameWidth), cut(cells[1], stateWidth), cells[2], cells[3], cells[4], cut(cells[5], zoneWidth), id}
}

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
