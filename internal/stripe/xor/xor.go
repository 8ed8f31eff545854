// Package xor is a level for tests: three parts, of which any two suffice, with one copy
// each. It stands for what erasure codes will ask of the rest of the house.
package xor

import "github.com/raidpi/raidpi/internal/stripe"

// Name is the level's.
const Name = "xor"

// Level is the level: part 1 and 2 are the halves of a stripe, part 3 is their
// exclusive or.
func Level() stripe.Level {
	return stripe.Level{Name: Name, Parts: 3, Needed: 2, Copies: 1, Code: parity{stripe.RAID1().Code}}
}

// parity adds a third part to two halves.
type parity struct{ stripe.Code }

// Length is that of the longer half for part 3.
func (p parity) Length(n int64, part int) int64 {
	if part == 3 {
		part = 1
	}
	return p.Code.Length(n, part)
}

// Extra is the memory of part 3.
func (p parity) Extra(n int64) int64 { return p.Length(n, 3) }

// Cut cuts a stripe into three parts.
func (p parity) Cut(b, extra []byte) [][]byte {
	third := extra[:p.Length(int64(len(b)), 3)]
	parts := p.Code.Cut(b, nil)
	p.Reconstruct(third, 3, []stripe.Run{{Part: 1, Bytes: parts[0]}, {Part: 2, Bytes: parts[1]}})
	return append(parts, third)
}

// Reconstruct makes any part from both others.
func (parity) Reconstruct(dst []byte, _ int, from []stripe.Run) {
	clear(dst)
	for _, r := range from {
		for i := range min(len(dst), len(r.Bytes)) {
			dst[i] ^= r.Bytes[i]
		}
	}
}
