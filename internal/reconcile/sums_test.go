package reconcile

import (
	"hash/maphash"
	"strings"
	"testing"
)

// A node says itself how many chunks it has, and so how many ranges there are. With many,
// numbers of ranges are beyond 32 bits.
func TestEveryUploadIsInTheRangeThatBeginsBeforeIt(t *testing.T) {
	for _, chunks := range []int64{0, 1 << 20, 1 << 22, 1<<63 - 1} {
		s := &sums{seed: maphash.MakeSeed(), ranges: make([]sum, rangesFor(chunks))}
		for v := range prefixes {
			upload := string([]byte{digits[v/62/62], digits[v/62%62], digits[v%62]}) + strings.Repeat("0", 19)
			i := s.rangeOf(upload)
			if i < 0 || i >= len(s.ranges) {
				t.Fatalf("of %d ranges %q is in %d", len(s.ranges), upload, i)
			}
			if end := s.beginning(i + 1); upload < s.beginning(i) || end != "" && upload >= end {
				t.Fatalf("%q is in range %d of %d, from %q to %q", upload, i, len(s.ranges), s.beginning(i), end)
			}
		}
		s.add(chunkSum{upload: strings.Repeat("z", 22)})
		if s.ranges[len(s.ranges)-1].chunks != 1 {
			t.Errorf("the last upload is not in the last of %d ranges", len(s.ranges))
		}
	}
}
