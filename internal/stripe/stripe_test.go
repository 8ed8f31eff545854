package stripe

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestAnEmptyFileHasOneEmptyStripeOfTwoEmptyParts(t *testing.T) {
	l := Layout{RAID1, 4 << 20, 0}
	if l.Stripes() != 1 || l.StripeLength(0) != 0 {
		t.Fatalf("%d stripes of %d", l.Stripes(), l.StripeLength(0))
	}
	if p := Cut(nil); len(p) != l.Parts() || len(p[0])+len(p[1]) != 0 {
		t.Fatalf("parts %v", p)
	}
}

func TestTheFirstHalfIsLongerWhenTheLengthIsOdd(t *testing.T) {
	p := Cut([]byte("abcde"))
	if string(p[0]) != "abc" || string(p[1]) != "de" {
		t.Fatalf("%q", p)
	}
}

func TestStripesAndPartsCoverTheFileExactly(t *testing.T) {
	for range 500 {
		l := Layout{RAID1, 1 + rand.Int64N(64), rand.Int64N(1000)}
		file := make([]byte, l.Size)
		for i := range file {
			file[i] = byte(rand.Uint32())
		}
		var parts [][][]byte
		var back []byte
		for s := range l.Stripes() {
			off := s * l.StripeSize
			p := Cut(file[off : off+l.StripeLength(s)])
			for i := range p {
				if int64(len(p[i])) != PartLength(l.StripeLength(s), i+1) {
					t.Fatalf("%+v stripe %d part %d: %d bytes", l, s, i+1, len(p[i]))
				}
				back = append(back, p[i]...)
			}
			parts = append(parts, p)
		}
		if !bytes.Equal(back, file) {
			t.Fatalf("%+v: the parts in order are not the file", l)
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

func TestLayoutsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, l := range []Layout{{"raid5", 1, 1}, {RAID1, 0, 1}, {RAID1, 1, -1}, {RAID1, 1, 1 << 62}} {
		if l.Valid() == nil {
			t.Errorf("%+v is called valid", l)
		}
	}
	if err := (Layout{RAID1, 4 << 20, 1 << 40}).Valid(); err != nil {
		t.Error(err)
	}
}
