package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// describing is a memNode that tells more than names.
type describing struct {
	*memNode
	errs map[raid.ChunkName]error
}

func (d describing) Describe(ctx context.Context, req ListRequest) (out []raid.Listed, more bool, err error) {
	names, more, err := d.List(ctx, req)
	for _, n := range names {
		c, _ := d.find(n)
		out = append(out, raid.Listed{Name: n, Described: true, Length: c.meta.Length, CRC: raid.Checksum(c.data), Err: d.errs[n]})
	}
	return out, more, err
}

// A node tells length and checksum of each chunk, or why it can't, over all pages; one
// of an earlier version tells names.
func TestAListingDescribesChunks(t *testing.T) {
	for _, knows := range []bool{true, false} {
		t.Run(fmt.Sprint(knows), func(t *testing.T) {
			th := startHub(t, &loopback{}, nil)
			node := describing{newMemNode(), map[raid.ChunkName]error{}}
			startLink(t, th, node.memNode, func(cfg *LinkConfig) {
				if knows {
					cfg.Describer = node
				}
			})
			s := th.events.next(t, "up").sess
			u := newUpload(t, 1)
			want := map[raid.ChunkName]raid.Listed{}
			for i := range 1000 {
				req := u.store([]byte(fmt.Sprint("payload ", i)))
				node.put(req)
				l := raid.Listed{Name: req.Meta.Key.Name(), Described: knows}
				switch {
				case knows && i%10 == 3:
					l.Err = raid.ErrCorrupt
					node.errs[l.Name] = fmt.Errorf("it is rotten: %w", raid.ErrCorrupt)
				case knows:
					l.Length, l.CRC = req.Meta.Length, raid.Checksum(req.Payload)
				}
				want[l.Name] = l
			}
			req := ListRequest{MaxRun: 10}
			ctx := within(t, 20*time.Second)
			for more := true; more; {
				var page []raid.Listed
				var err error
				if page, more, err = s.Describe(ctx, req); err != nil || len(page) == 0 {
					t.Fatalf("a page of %d chunks: %v", len(page), err)
				}
				for _, got := range page {
					w := want[got.Name]
					delete(want, got.Name)
					if got.Described != w.Described || w.Err != nil && !errors.Is(got.Err, w.Err) || w.Err == nil && got != w {
						t.Fatalf("described as %+v, want %+v", got, w)
					}
				}
				req.After = page[len(page)-1].Name
			}
			if len(want) > 0 {
				t.Errorf("%d chunks were not listed", len(want))
			}
		})
	}
}

// The largest chunks that may be said to exist fit an answer, or come with the next.
func TestDescriptionsFitAnAnswer(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	d := immense{}
	startLink(t, th, newMemNode(), func(cfg *LinkConfig) { cfg.Describer = d })
	s := th.events.next(t, "up").sess
	page, more, err := s.Describe(within(t, 20*time.Second), ListRequest{MaxRun: 10})
	if err != nil || !more || len(page) < 100 || page[len(page)-1].Length != math.MaxInt64 {
		t.Errorf("a page of %d chunks, more: %v, %v", len(page), more, err)
	}
}

// immense lists long names of chunks of many bytes.
type immense struct{}

func (immense) Describe(_ context.Context, req ListRequest) (out []raid.Listed, more bool, err error) {
	for i := range req.Limit {
		out = append(out, raid.Listed{Name: raid.ChunkName(fmt.Sprintf("z%063d", i)), Described: true, Length: math.MaxInt64, CRC: math.MaxUint32})
	}
	return out, false, nil
}

func TestADescriptionThatCanNotBeIsRefused(t *testing.T) {
	names := []string{"abc", "abd"}
	for what, l := range map[string]*wirepb.ListResult{
		"more names than were asked for": {Names: []string{"abc", "abd", "abe"}},
		"no name and more":               {More: true},
		"an error too few":               {Names: names, Errors: []wirepb.Error{0}, Lengths: []uint64{1, 2}, Crc32C: []uint32{3, 4}},
		"a length too many":              {Names: names, Errors: []wirepb.Error{0, 0}, Lengths: []uint64{1, 2, 3}, Crc32C: []uint32{3, 4}},
		"checksums alone":                {Names: names, Crc32C: []uint32{3, 4}},
		"a length that no chunk has":     {Names: names, Errors: []wirepb.Error{0, 0}, Lengths: []uint64{1, 1 << 63}, Crc32C: []uint32{3, 4}},
	} {
		r := response{pb: &wirepb.Response{Result: &wirepb.Response_List{List: l}}}
		if got, _, err := r.describeResult(2); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
