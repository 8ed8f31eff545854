package reconcile

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/inventory"
	"github.com/raidpi/raidpi/internal/raid"
)

// keyN is one of few keys, of several uploads.
func keyN(n byte) raid.ChunkKey {
	u := raid.UploadID{3: 1}
	binary.BigEndian.PutUint64(u[8:], uint64(n/16)*0x9E3779B97F4A7C15)
	return raid.ChunkKey{Upload: u, Stripe: int64(n / 4 % 4), Part: 1 + int(n/2%2), Attempt: 1 + int(n%2)}
}

func heldOf(k raid.ChunkKey) raid.Held {
	return raid.Held{File: 1, Upload: k.Upload.String(), Stripe: k.Stripe, Part: k.Part, Attempt: k.Attempt, Index: 1, Length: 100, CRC: 7}
}

func chunkOf(k raid.ChunkKey) inventory.Chunk {
	return inventory.Chunk{Key: k, Listed: raid.Listed{Name: k.Name(), Described: true, Length: 100, CRC: 7}}
}

func streamOf[T any](all []T) stream[T] {
	return func(context.Context) (x T, ok bool, err error) {
		if len(all) == 0 {
			return x, false, nil
		}
		x, all = all[0], all[1:]
		return x, true, nil
	}
}

// said is what merge tells, by name.
type said map[raid.ChunkName]verdict

// FuzzMerge compares merge with what two maps say. Each two bytes are a chunk: which one,
// and how it is.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 2, 1, 3, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7, 200, 8, 201, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		node, should, want := map[raid.ChunkName]inventory.Chunk{}, map[raid.ChunkName]raid.Held{}, said{}
		for ; len(in) >= 2; in = in[2:] {
			k := keyN(in[0])
			name, c, h := k.Name(), chunkOf(k), heldOf(k)
			delete(node, name)
			delete(should, name)
			delete(want, name)
			how := in[1]
			if how&1 != 0 {
				switch how >> 5 {
				case 1:
					c.Length++
				case 2:
					c.CRC++
				case 3:
					c.Length, c.CRC, c.Err = 0, 0, raid.ErrCorrupt
				case 4:
					c.Length, c.CRC, c.Err = 0, 0, raid.ErrNotFound
				case 5:
					c = inventory.Chunk{Key: k, Listed: raid.Listed{Name: name}}
				}
				node[name] = c
			}
			if how&2 != 0 {
				h.Bad, h.Gone = how&4 != 0, how&8 != 0
				should[name] = h
			}
			is, ok := node[name]
			there := ok && is.Err != raid.ErrNotFound
			good := there && (!is.Described || is.Err == nil && is.Length == 100 && is.CRC == 7)
			switch _, held := should[name]; {
			case !held && there:
				want[name] = unknown
			case !held || h.Gone:
			case h.Bad && good:
				want[name] = revived
			case h.Bad || good:
			case there:
				want[name] = wrong
			default:
				want[name] = missing
			}
		}
		got := said{}
		var chunks []inventory.Chunk
		var copies []raid.Held
		for _, c := range node {
			chunks = append(chunks, c)
		}
		for _, h := range should {
			copies = append(copies, h)
		}
		slices.SortFunc(chunks, func(a, b inventory.Chunk) int { return compare(a.Key, b.Key) })
		slices.SortFunc(copies, func(a, b raid.Held) int { return compare(keyOf(t, &a), keyOf(t, &b)) })
		err := merge(t.Context(), streamOf(chunks), streamOf(copies), func(v verdict, h *raid.Held, c *inventory.Chunk) error {
			k := raid.ChunkKey{}
			if h != nil {
				k = keyOf(t, h)
			} else {
				k = c.Key
			}
			if _, twice := got[k.Name()]; twice {
				t.Errorf("%s is told twice", k.Name())
			}
			got[k.Name()] = v
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for name := range union(got, want) {
			if got[name] != want[name] {
				t.Errorf("%s: verdict %d, want %d", name, got[name], want[name])
			}
		}
	})
}

func union(a, b said) said {
	all := said{}
	for _, m := range []said{a, b} {
		for k := range m {
			all[k] = 0
		}
	}
	return all
}

func keyOf(t *testing.T, h *raid.Held) raid.ChunkKey {
	k, err := h.Key()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func compare(a, b raid.ChunkKey) int {
	if a.Name() < b.Name() {
		return -1
	}
	if a.Name() > b.Name() {
		return 1
	}
	return 0
}

// Every upload is in the range whose beginnings it lies between, and ranges follow each
// other without a gap.
func TestRangesDivideAllUploads(t *testing.T) {
	for _, n := range []int{minRanges, 17, 1000, 62 * 62, maxRanges} {
		s := &sums{seed: maphash.MakeSeed(), ranges: make([]sum, n)}
		if s.beginning(0) != "000" || s.beginning(n) != "" {
			t.Errorf("%d ranges go from %q to %q", n, s.beginning(0), s.beginning(n))
		}
		for range 20_000 {
			u := raid.UploadID{3: 1}
			binary.LittleEndian.PutUint64(u[4:], rand.Uint64())
			binary.LittleEndian.PutUint64(u[8:], rand.Uint64())
			id := u.String()
			i := s.rangeOf(id)
			if from, to := s.beginning(i), s.beginning(i+1); id < from || to != "" && id >= to {
				t.Fatalf("%s is in range %d of %d, from %q to %q", id, i, n, from, to)
			}
		}
	}
}

// Where one side has another chunk, or another description of one, its range differs, and
// no other does.
func TestSumsDifferWhereChunksDo(t *testing.T) {
	seed := maphash.MakeSeed()
	fresh := func(described bool) *sums { return &sums{seed: seed, described: described, ranges: make([]sum, 1000)} }
	var all []chunkSum
	for range 5000 {
		u := raid.UploadID{3: 1}
		binary.LittleEndian.PutUint64(u[4:], rand.Uint64())
		binary.LittleEndian.PutUint64(u[8:], rand.Uint64())
		all = append(all, chunkSum{u.String(), rand.Int64N(9), 1, 1, rand.Int64N(1 << 20), rand.Uint32()})
	}
	for what, change := range map[string]func(*chunkSum){
		"nothing":  func(*chunkSum) {},
		"stripe":   func(c *chunkSum) { c.stripe++ },
		"part":     func(c *chunkSum) { c.part++ },
		"attempt":  func(c *chunkSum) { c.attempt++ },
		"length":   func(c *chunkSum) { c.length++ },
		"checksum": func(c *chunkSum) { c.crc++ },
	} {
		for _, described := range []bool{true, false} {
			a, b := fresh(described), fresh(described)
			changed := all[rand.IntN(len(all))]
			for _, c := range all {
				a.add(c)
			}
			for _, i := range rand.Perm(len(all)) {
				c := all[i]
				if c == changed {
					change(&c)
				}
				b.add(c)
			}
			got := a.differences(b)
			same := what == "nothing" || !described && (what == "length" || what == "checksum")
			if same != (len(got) == 0) || len(got) > 1 {
				t.Errorf("%s changed, described: %v: they differ at %v", what, described, got)
			}
			if len(got) == 1 && (changed.upload < got[0].from || got[0].to != "" && changed.upload >= got[0].to) {
				t.Errorf("%s changed of %s, they differ at %v", what, changed.upload, got)
			}
		}
	}
	a, b := fresh(true), fresh(true)
	a.markDifferent(all[0].upload)
	if got := a.differences(b); len(got) != 1 {
		t.Errorf("a chunk that can't be described makes a difference at %v", got)
	}
}

func TestNeighbouringDifferencesAreOneSpan(t *testing.T) {
	a := &sums{ranges: make([]sum, 20)}
	b := &sums{ranges: make([]sum, 20)}
	for _, i := range []int{0, 1, 5, 18, 19} {
		a.ranges[i].chunks = 1
	}
	got := a.differences(b)
	if len(got) != 3 || got[0].from != "000" || got[0].to != a.beginning(2) || got[1] != (span{a.beginning(5), a.beginning(6)}) || got[2] != (span{a.beginning(18), ""}) {
		t.Errorf("%v", got)
	}
}
