package stripe_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
	"github.com/raidpi/raidpi/internal/stripe/xor"
)

// levels are those whose code is tested here.
func levels() stripe.Levels { return append(stripe.Known(), xor.Level()) }

func cut(l stripe.Level, b []byte) [][]byte {
	return l.Cut(b, make([]byte, l.Extra(int64(len(b)))))
}

func TestAnEmptyFileHasOneEmptyStripeOfEmptyParts(t *testing.T) {
	for _, level := range levels() {
		l := stripe.Layout{Level: level, StripeSize: 4 << 20}
		if l.Stripes() != 1 || l.StripeLength(0) != 0 {
			t.Fatalf("%s: %d stripes of %d", level.Name, l.Stripes(), l.StripeLength(0))
		}
		p := cut(level, nil)
		if len(p) != level.Parts || len(bytes.Join(p, nil)) != 0 {
			t.Fatalf("%s: parts %v", level.Name, p)
		}
	}
}

// Both facts are on disks.
func TestRAID1CutsTwoHalvesTheFirstLonger(t *testing.T) {
	l := stripe.RAID1()
	p := cut(l, []byte("abcde"))
	if len(p) != 2 || string(p[0]) != "abc" || string(p[1]) != "de" {
		t.Fatalf("%q", p)
	}
	if l.Name != "raid1" || l.Spare() != 0 || l.CopiesOf(3) != 3 || l.Group(1) == l.Group(2) || l.Groups() != 2 || l.Apart(3) != 3 {
		t.Errorf("%+v", l)
	}
}

func randomBytes(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestStripesAndPartsCoverTheFileExactly(t *testing.T) {
	for _, level := range levels() {
		for range 500 {
			l := stripe.Layout{Level: level, StripeSize: 1 + rand.Int64N(64), Size: rand.Int64N(1000)}
			file := randomBytes(l.Size)
			var parts [][][]byte
			for s := range l.Stripes() {
				off := s * l.StripeSize
				p := cut(level, file[off:off+l.StripeLength(s)])
				if len(p) != level.Parts {
					t.Fatalf("%+v stripe %d: %d parts", l, s, len(p))
				}
				for i := range p {
					if int64(len(p[i])) != l.PartLength(s, i+1) {
						t.Fatalf("%+v stripe %d part %d: %d bytes", l, s, i+1, len(p[i]))
					}
				}
				parts = append(parts, p)
			}
			var walked []byte
			for off := int64(0); off < l.Size; {
				e := l.At(off, 1+rand.Int64N(40))
				if e.Length < 1 {
					t.Fatalf("%+v at %d: %+v", l, off, e)
				}
				walked = append(walked, parts[e.Stripe][e.Part-1][e.Offset:e.Offset+e.Length]...)
				off += e.Length
			}
			if !bytes.Equal(walked, file) {
				t.Fatalf("%+v: walking the extents does not give the file", l)
			}
		}
	}
}

// Each choice of parts that suffices gives each other part, whole and in ranges.
func TestAnyPartsThatSufficeMakeTheOthers(t *testing.T) {
	for _, level := range levels() {
		if level.Spare() == 0 {
			continue
		}
		for range 300 {
			parts := cut(level, randomBytes(rand.Int64N(100)))
			order := rand.Perm(level.Parts)
			want := order[level.Needed]
			from := rand.IntN(len(parts[want]) + 1)
			to := from + rand.IntN(len(parts[want])-from+1)
			var runs []stripe.Run
			for _, i := range order[:level.Needed] {
				p := parts[i]
				runs = append(runs, stripe.Run{Part: i + 1, Bytes: p[min(from, len(p)):min(to+rand.IntN(9), len(p))]})
			}
			got := randomBytes(int64(to - from))
			level.Reconstruct(got, want+1, runs)
			if !bytes.Equal(got, parts[want][from:to]) {
				t.Fatalf("%s: bytes %d to %d of part %d from %v", level.Name, from, to, want+1, order[:level.Needed])
			}
		}
	}
}

func TestLayoutsThatMakeNoSenseAreRefused(t *testing.T) {
	level := stripe.RAID1()
	for _, l := range []stripe.Layout{{level, 0, 1}, {level, 1, -1}, {level, 1, 1 << 62}} {
		if l.Valid() == nil {
			t.Errorf("%+v is called valid", l)
		}
	}
	if err := (stripe.Layout{Level: level, StripeSize: 4 << 20, Size: 1 << 40}).Valid(); err != nil {
		t.Error(err)
	}
}

func TestLevelsAreFoundByName(t *testing.T) {
	for _, level := range levels() {
		if got, err := levels().Named(level.Name); err != nil || got != level {
			t.Errorf("%s: %+v, %v", level.Name, got, err)
		}
	}
	if _, err := levels().Named("raid5"); !errors.Is(err, raid.ErrInvalid) {
		t.Errorf("raid5: %v", err)
	}
}

// A level that breaks one of these can't be stored.
func TestNumbersOfLevelsFitChunkNames(t *testing.T) {
	for _, l := range levels() {
		if l.Parts < 1 || l.Parts > raid.MaxPart || l.Needed < 1 || l.Needed > l.Parts || l.Copies < 0 {
			t.Errorf("%+v", l)
		}
	}
}
