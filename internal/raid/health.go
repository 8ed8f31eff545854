package raid

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Health describes the array in one word.
type Health string

// The words of health, the best first. The worst one wins.
const (
	Healthy  Health = "healthy"   // every part has its good copies on nodes that are there
	Healing  Health = "healing"   // copies are being made again
	Degraded Health = "degraded"  // a node is away or a copy is missing, and that ends by itself
	AtRisk   Health = "at-risk"   // it does not end until a person acts
	DataLost Health = "data-lost" // some part has no good copy on any node of the array
)

var healths = []Health{Healthy, Healing, Degraded, AtRisk, DataLost}

// Healths are all words, the best first.
func Healths() []Health { return slices.Clone(healths) }

// WorseThan compares two words. One that is not known is the worst.
func (h Health) WorseThan(other Health) bool { return h.rank() > other.rank() }

func (h Health) rank() int {
	if i := slices.Index(healths, h); i >= 0 {
		return i
	}
	return len(healths)
}

// Finding is one thing about the array that is not as it should be.
type Finding struct {
	Health Health
	// Text says to a person what happened, to what, and what to do next. It has no
	// full stop at its end.
	Text string
	// Named is true when Text begins with a name, whose letters stay as they are.
	Named bool
	// Impairs is true when some file can't be read or stored because of it.
	Impairs bool
}

// Assessment sums up all findings.
type Assessment struct {
	Health   Health
	Findings []Finding // the worst first
	Impaired bool      // some file can't be read or stored
}

// Assess sums findings up. Of equally bad ones the first stays first.
func Assess(findings []Finding) Assessment {
	a := Assessment{Health: Healthy, Findings: slices.Clone(findings)}
	slices.SortStableFunc(a.Findings, func(x, y Finding) int { return y.Health.rank() - x.Health.rank() })
	for _, f := range a.Findings {
		if f.Health.WorseThan(a.Health) {
			a.Health = f.Health
		}
		a.Impaired = a.Impaired || f.Impairs
	}
	return a
}

// Text is all findings in one line, the worst first; empty when there are none. The first
// one follows the word of health, and each other is a sentence of its own.
func (a Assessment) Text() string {
	texts := make([]string, len(a.Findings))
	for i, f := range a.Findings {
		texts[i] = f.Text
		if first, size := utf8.DecodeRuneInString(f.Text); i > 0 && !f.Named {
			texts[i] = string(unicode.ToUpper(first)) + f.Text[size:]
		}
	}
	return strings.Join(texts, ". ")
}

// HealingProgress counts what is left of healing: making copies again, moving them, and removing
// surplus ones.
type HealingProgress struct {
	PartsLeft      int64 // that are known to be left; an estimate while nodes are being looked through
	BytesLeft      int64
	BytesPerSecond int64  // lately; 0: nothing moves
	SecondsLeft    int64  // -1: it can't be told
	BlockedBy      string // why nothing moves, and what would help, for a person; empty: it moves, or nothing is left
}
