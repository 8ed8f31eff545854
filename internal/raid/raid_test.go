package raid

import (
	"bytes"
	"crypto/rand"
	mrand "math/rand/v2"
	"testing"
)

func TestIDsSurviveTheRoundTrip(t *testing.T) {
	cases := [][16]byte{{}, {15: 1}, {0: 0xff, 15: 0xff}}
	full := [16]byte{}
	for i := range full {
		full[i] = 0xff
	}
	cases = append(cases, full)
	for range 1000 {
		var b [16]byte
		rand.Read(b[:])
		cases = append(cases, b)
	}
	for _, want := range cases {
		s := EncodeID(want)
		if !ValidName(s) || len(s) != IDLen {
			t.Fatalf("EncodeID(%x) = %q, not a name", want, s)
		}
		got, err := DecodeID(s)
		if err != nil || got != want {
			t.Fatalf("DecodeID(%q) = %x, %v; want %x", s, got, err, want)
		}
	}
}

func TestDecodeIDRefusesWhatNobodyEncoded(t *testing.T) {
	for _, s := range []string{"", "a", "zzzzzzzzzzzzzzzzzzzzzz", "000000000000000000000/", "0000000000000000000000 "} {
		if _, err := DecodeID(s); err == nil {
			t.Errorf("DecodeID(%q) succeeded", s)
		}
	}
}

func TestUploadIDCarriesItsRun(t *testing.T) {
	id, err := NewUploadID(0xdeadbeef, rand.Reader)
	if err != nil || id.Run() != 0xdeadbeef {
		t.Fatalf("run %x, %v", id.Run(), err)
	}
	if _, err := NewUploadID(1, bytes.NewReader(nil)); err == nil {
		t.Fatal("no randomness, yet an id")
	}
}

func TestUploadsOfOneRunFanOut(t *testing.T) {
	dirs := map[string]bool{}
	for range 2000 {
		id, _ := NewUploadID(7, rand.Reader)
		dirs[id.String()[:2]] = true
	}
	if len(dirs) < 1000 {
		t.Fatalf("2000 uploads of one run fell into %d directories", len(dirs))
	}
}

func TestChunkNamesSurviveTheRoundTrip(t *testing.T) {
	for range 1000 {
		id, _ := NewUploadID(mrand.Uint32(), rand.Reader)
		k := ChunkKey{id, mrand.Int64N(MaxStripe + 1), mrand.IntN(MaxPart + 1), mrand.IntN(MaxAttempt + 1)}
		n := k.Name()
		if !ValidName(string(n)) || len(n) != ChunkNameLen {
			t.Fatalf("name %q", n)
		}
		if got, err := ParseChunkName(n); err != nil || got != k {
			t.Fatalf("parse %q: %v, %v; want %v", n, got, err, k)
		}
	}
}

func TestValidNameRefusesPaths(t *testing.T) {
	for _, s := range []string{"", "ab", "../x", "a/b", "a.b", "abc\x00", "ä12", string(bytes.Repeat([]byte("a"), 65))} {
		if ValidName(s) {
			t.Errorf("%q is called a valid name", s)
		}
	}
	for _, s := range []string{"abc", "RsZ5t", "vJBU1234", string(bytes.Repeat([]byte("a"), 64))} {
		if !ValidName(s) {
			t.Errorf("%q is refused", s)
		}
	}
}

func TestCombinedBlocksEqualTheWhole(t *testing.T) {
	for _, n := range []int{0, 1, 4095, BlockSize - 1, BlockSize, BlockSize + 1, 3 * BlockSize, 3*BlockSize + 17, 2 << 20} {
		b := make([]byte, n)
		rand.Read(b)
		got, ok := CombineBlocks(BlockChecksums(b), int64(n))
		if !ok || got != Checksum(b) {
			t.Errorf("%d bytes: %08x, %v; want %08x", n, got, ok, Checksum(b))
		}
	}
	if _, ok := CombineBlocks(make([]uint32, 2), BlockSize); ok {
		t.Error("two blocks of one block's length were combined")
	}
	if _, ok := CombineBlocks(nil, -1); ok {
		t.Error("a negative length was combined")
	}
}

func FuzzParseChunkName(f *testing.F) {
	f.Add("0000000000000000000000000000000000")
	f.Add(string(ChunkKey{Stripe: 1, Part: 1, Attempt: 1}.Name()))
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseChunkName(ChunkName(s))
		if err == nil && k.Name() != ChunkName(s) {
			t.Fatalf("%q parses as %v, which is named %q", s, k, k.Name())
		}
	})
}
