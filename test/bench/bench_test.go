package main

import (
	"bytes"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func readObject(t *testing.T, o *object, wrap func(io.Reader) io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(wrap(&body{sand: newSand(), obj: o}))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != o.size || crc32.Checksum(b, castagnoli) != o.crc {
		t.Errorf("object %d: %d bytes with CRC %08x, want %d; it says %08x", o.number, len(b), crc32.Checksum(b, castagnoli), o.size, o.crc)
	}
	return b
}

func TestNoTwoBlocksAreEqual(t *testing.T) {
	seen := map[string]bool{}
	for number := range 4 {
		b := readObject(t, &object{number: number, size: 6 * mib}, func(r io.Reader) io.Reader { return r })
		for block := range slices.Chunk(b, blockSize) {
			if seen[string(block)] {
				t.Fatalf("object %d has a block that was there before", number)
			}
			seen[string(block)] = true
		}
	}
}

func TestBodyDoesNotDependOnHowItIsRead(t *testing.T) {
	for _, size := range []int64{0, 1, 4095, 4096, 4097, 100_000} {
		whole := readObject(t, &object{number: 7, size: size}, func(r io.Reader) io.Reader { return r })
		bitwise := readObject(t, &object{number: 7, size: size}, iotest.OneByteReader)
		if !bytes.Equal(whole, bitwise) {
			t.Errorf("an object of %d bytes reads differently in small pieces", size)
		}
	}
}

func TestTableTellsMissedFromReached(t *testing.T) {
	var tab table
	tab.add(row{figure: "fast enough", value: 10, unit: "MB/s", target: 9})
	tab.add(row{figure: "too slow", value: 8, unit: "MB/s", target: 9})
	tab.add(row{figure: "cheap enough", value: 1, unit: "s", target: 3, cost: true})
	tab.add(row{figure: "too dear", value: 4, unit: "s", target: 3, cost: true})
	var out strings.Builder
	tab.print(&out)
	for figure, verdict := range map[string]string{
		"fast enough": "reached", "too slow": "missed", "cheap enough": "reached", "too dear": "missed",
	} {
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, figure) && !strings.Contains(line, verdict) {
				t.Errorf("%q is not called %s: %s", figure, verdict, line)
			}
		}
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{5, 1, 3}); m != 3 {
		t.Errorf("the median of 5, 1, 3 is %v", m)
	}
}

func TestFloorWritesEachCopyAndCleansUp(t *testing.T) {
	dir := t.TempDir() + "/floor"
	out, err := floor{dir: dir, copies: 4, size: 2048, dirSync: true}.run(load{size: 4096, clients: 2, count: 8})
	if err != nil || out.ops != 8 || out.bytes != 8*4096 {
		t.Errorf("floor: %+v, %v", out, err)
	}
}
