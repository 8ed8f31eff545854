package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// row is one figure. A figure reaches its target from above (a rate) or from
// below (a cost).
type row struct {
	figure string
	value  float64
	unit   string
	target float64 // 0: none, the figure is there to be known
	cost   bool    // lower is better
	note   string
}

// reached tells whether the target is met.
func (r row) reached() bool {
	if r.cost {
		return r.value <= r.target
	}
	return r.value >= r.target
}

// table collects the rows in the order of measuring.
type table struct{ rows []row }

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// print writes the table as Markdown, which reads well on a terminal too.
func (t *table) print(w io.Writer) {
	cells := [][]string{{"figure", "measured", "target", "measured/target", ""}}
	for _, r := range t.rows {
		line := []string{r.figure, number(r.value) + " " + r.unit, "", "", r.note}
		if r.target > 0 {
			bound, verdict := "≥ ", "reached"
			if r.cost {
				bound = "≤ "
			}
			if !r.reached() {
				verdict = "missed"
			}
			line[2] = bound + number(r.target) + " " + r.unit
			line[3] = fmt.Sprintf("%.2f", r.value/r.target)
			line[4] = strings.TrimSuffix(verdict+"; "+r.note, "; ")
		}
		cells = append(cells, line)
	}
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	for i, line := range cells {
		printLine(w, line, widths, " ")
		if i == 0 {
			printLine(w, make([]string, len(widths)), widths, "-")
		}
	}
}

func printLine(w io.Writer, line []string, widths []int, pad string) {
	for i, c := range line {
		fmt.Fprintf(w, "|%s%s%s%s", pad, c, strings.Repeat(pad, widths[i]-len([]rune(c))), pad)
	}
	fmt.Fprintln(w, "|")
}

// number writes a figure with three significant digits, more for large ones.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// median of the rounds' figures; of an even number, the upper of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
