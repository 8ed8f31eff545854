package catalog

import (
	"fmt"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// The files that lost a part are found among those with flawed copies, in pages.
func TestLostFilesAreListed(t *testing.T) {
	was := flawedPage
	t.Cleanup(func() { flawedPage = was })
	c := openTest(t, "")
	var want []raid.FileID
	spoil := func(f raid.File, stripe int64, part, copies int) {
		for i := 1; i <= copies; i++ {
			must(t, c.MarkBad(bg, f.ID, stripe, part, i, i))
		}
	}
	for n := range 12 {
		f := store(t, c, 4)
		switch n % 4 {
		case 0: // one copy of each part is bad, none lost
			for stripe := range int64(4) {
				spoil(f, stripe, 1, 1)
				spoil(f, stripe, 2, 1)
			}
		case 1: // the last part is lost, after others with one copy
			spoil(f, 0, 2, 1)
			spoil(f, 3, 2, 2)
			want = append(want, f.ID)
		case 2: // two are lost
			spoil(f, 1, 1, 2)
			spoil(f, 2, 1, 2)
			want = append(want, f.ID)
		}
	}
	must(t, c.Delete(bg, want[0]))
	want = want[1:]
	list := func(q raid.FileQuery) (ids []raid.FileID) {
		q.Lost = true
		for f, err := range c.Files(bg, q) {
			must(t, err)
			ids = append(ids, f.ID)
		}
		return ids
	}
	for _, flawedPage = range []int{1, 3, 8, 2000} {
		for _, q := range []struct {
			raid.FileQuery
			want []raid.FileID
		}{
			{raid.FileQuery{}, want}, {raid.FileQuery{Limit: 2}, want[:2]}, {raid.FileQuery{After: want[0]}, want[1:]}, {raid.FileQuery{After: want[len(want)-1]}, nil},
			{raid.FileQuery{Filename: "no such name"}, nil},
		} {
			if got := list(q.FileQuery); !slices.Equal(got, q.want) {
				t.Errorf("%s: %v, want %v", fmt.Sprintf("%+v in pages of %d", q.FileQuery, flawedPage), got, q.want)
			}
		}
	}
}
