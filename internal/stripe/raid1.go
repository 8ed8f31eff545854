package stripe

// RAID1 is the level whose stripes are cut in two halves, the first one byte longer
// when the length is odd. Both are needed, and each has the configured copies.
func RAID1() Level { return Level{Name: "raid1", Parts: 2, Needed: 2, Code: halves{}} }

// halves implements Code.
type halves struct{}

func (halves) Length(n int64, part int) int64 {
	if part == 1 {
		return (n + 1) / 2
	}
	return n / 2
}

func (h halves) Locate(n, offset int64) (part int, at int64) {
	if first := h.Length(n, 1); offset >= first {
		return 2, offset - first
	}
	return 1, offset
}

func (halves) Extra(int64) int64 { return 0 }

func (h halves) Cut(stripe, _ []byte) [][]byte {
	first := h.Length(int64(len(stripe)), 1)
	return [][]byte{stripe[:first:first], stripe[first:]}
}

func (halves) Reconstruct([]byte, int, []Run) {}
