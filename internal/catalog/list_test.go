package catalog

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/raid"
)

func storeNamed(t testing.TB, c *Catalog, name string) raid.File {
	t.Helper()
	fin := newFile(t, c, 1)
	fin.File.Filename = name
	f, err := c.Finish(bg, fin)
	must(t, err)
	return f
}

func TestListingHasEveryFileOnceInOrder(t *testing.T) {
	c := openTest(t, "")
	want := storeMany(t, c, listPage*2+7)
	if got := listAll(t, c, raid.FileQuery{}); !reflect.DeepEqual(got, want) {
		t.Errorf("%d files listed, want %d", len(got), len(want))
	}
	for _, limit := range []int{1, 7, listPage - 1, listPage, listPage + 1, 2 * listPage, 1000} {
		after := want[3].ID
		if got := listAll(t, c, raid.FileQuery{After: after, Limit: limit}); !reflect.DeepEqual(got, want[4:min(4+limit, len(want))]) {
			t.Errorf("limit %d: %d files", limit, len(got))
		}
	}
	if got := listAll(t, c, raid.FileQuery{After: want[len(want)-1].ID}); got != nil {
		t.Errorf("after the last: %v", got)
	}
}

// Nothing is held between pages: a reader that stops for long stops nobody.
func TestListingDoesNotKeepAnyoneWaiting(t *testing.T) {
	c := openTest(t, "")
	storeMany(t, c, listPage+5)
	seen := 0
	for f, err := range c.Files(bg, raid.FileQuery{}) {
		must(t, err)
		if seen++; seen == 1 {
			for range readers { // nor does it hold a connection
				for range c.Files(bg, raid.FileQuery{Limit: 1}) {
					continue
				}
			}
			must(t, c.Delete(bg, f.ID))
			must(t, c.Delete(bg, f.ID+listPage+1))
			sweepAll(t, c, 100)
		}
		if seen == 3 {
			c.writer.reading.Lock() // what a checkpoint waits for
			//lint:ignore SA2001 that it can be had is what is tested
			c.writer.reading.Unlock()
		}
	}
	if seen != listPage+4 {
		t.Errorf("%d files listed", seen)
	}
	for range c.Files(bg, raid.FileQuery{}) {
		break // and one may stop early
	}
}

// A client that reads slowly holds a page for as long as it likes.
func TestPagesOfLongNamesAreShort(t *testing.T) {
	c := openTest(t, "")
	long := strings.Repeat("𝄞", 5000)
	var want []raid.FileID
	for range 30 {
		want = append(want, storeNamed(t, c, long).ID)
	}
	for _, search := range []string{"", "𝄞"} {
		var got []raid.FileID
		for after, more := int64(0), true; more; {
			var page []raid.File
			must(t, c.read(bg, "test", func(r *conn) (err error) {
				page, after, more, err = listFrom(r, search, after, listPage)
				return err
			}))
			bytes := 0
			for _, f := range page {
				bytes += len(f.Filename)
				got = append(got, f.ID)
			}
			if bytes >= listBytes+len(long) {
				t.Errorf("a page has %d bytes of names", bytes)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("search %q: files %v, want %v", search, got, want)
		}
		if n := len(listAll(t, c, raid.FileQuery{Filename: search, Limit: 11})); n != 11 {
			t.Errorf("search %q: %d files listed, want 11", search, n)
		}
	}
}

func TestNamesOfAHugeFileTakeNoMemory(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	const stripes = 30_000 // 60,000 names would be 3 MB
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		_, err := t.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO chunk SELECT ?, i, 2, copy, 1, 1, 0 FROM n, (SELECT 1 AS copy UNION ALL SELECT 2)`, int64(stripes-1), int64(f.ID))
		return err
	}}))
	sqlDo(t, c, "UPDATE upload SET stripes = ? WHERE id = ?", int64(stripes), int64(f.ID))
	f, err := c.File(bg, f.ID)
	must(t, err)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := heap(), int64(0)
	n := 0
	for _, err := range c.Names(bg, f, 2) {
		must(t, err)
		if n++; n%5_000 == 0 {
			most = max(most, heap()-before)
		}
	}
	if n != 2*stripes || most > 1<<20 {
		t.Errorf("%d names, %d KiB of memory", n, most>>10)
	}
}

// A file that goes while its names are read must not look as if it had fewer.
func TestNamesOfAFileDeletedMeanwhileBreakOff(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, namesStripes+1)
	n, ended := 0, error(nil)
	for _, err := range c.Names(bg, f, 1) {
		if ended = err; err == nil {
			n++
		}
		if n == 1 {
			must(t, c.Delete(bg, f.ID))
		}
	}
	wants(t, ended, raid.ErrNotFound)
	if n != 2*namesStripes {
		t.Errorf("%d names", n)
	}
}

func TestSearchFindsNamesThatContainTheText(t *testing.T) {
	c := openTest(t, "")
	names := []string{"Urlaub 2024.jpg", "100%.txt", "a_b", "axb", `back\slash`, "ÄRGER.pdf", "nul\x00inside", "it's \"quoted\"", "new\nline", "日本語.txt"}
	for _, n := range names {
		storeNamed(t, c, n)
	}
	for q, want := range map[string][]string{
		"urlaub": {names[0]}, "JPG": {names[0]}, "%": {names[1]}, "_": {names[2]}, `\`: {names[4]}, "ärger": {names[5]},
		"inside": {names[6]}, "\x00": {names[6]}, `'s "q`: {names[7]}, "\n": {names[8]}, "本": {names[9]}, ".txt": {names[1], names[9]}, "none": nil,
	} {
		var got []string
		for _, f := range listAll(t, c, raid.FileQuery{Filename: q}) {
			got = append(got, f.Filename)
		}
		if !slices.Equal(got, want) {
			t.Errorf("q=%q found %q, want %q", q, got, want)
		}
	}
}

// macOS writes accents behind their letters (NFD), and others letters with accents
// (NFC). Either is found by either.
func TestSearchFindsNamesInBothFormsOfUnicode(t *testing.T) {
	c := openTest(t, "")
	names := []string{"Z\u00fcrich.jpg", "Zu\u0308rich.jpg", "cafe\u0301 A\u030angstro\u0308m", "caf\u00e9 \u00c5ngstr\u00f6m", "\u1112\u1161\u11ab", "\ud55c", "a\u0323\u0307", "\u1ea1\u0307", "zurich"}
	for _, n := range names {
		storeNamed(t, c, n)
	}
	for q, want := range map[string][]string{
		"z\u00fcrich": names[:2], "ZU\u0308RICH": names[:2], "\u00dc": names[:2], "caf\u00e9": names[2:4], "E\u0301 \u00e5": names[2:4], "\u212bngstr": names[2:4],
		"\ud55c": names[4:6], "\u1112\u1161\u11ab": names[4:6], "a\u0307\u0323": names[6:8], "zurich": names[8:], "zu": {names[1], names[8]}, "cafe": {names[2]}, "\u0308": {names[1], names[2]},
	} {
		var got []string
		for _, f := range listAll(t, c, raid.FileQuery{Filename: q}) {
			got = append(got, f.Filename)
		}
		if !slices.Equal(got, want) {
			t.Errorf("q=%q found %q, want %q", q, got, want)
		}
	}
}

func TestSearchGoesOnOverPagesWithoutAHit(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		_, err := t.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO upload SELECT ? + i, 'u' || i, 1, CASE WHEN i % 1500 = 0 THEN 'needle' ELSE 'hay' END, '', '', 0, zeroblob(32), 'raid1', 1, 2, 0, 0 FROM n`,
			int64(searchPage*2), int64(f.ID))
		return err
	}}))
	sqlDo(t, c, "UPDATE upload SET upload_id = ? || substr('000000' || id, -6) WHERE filename = 'needle'", strings.Repeat("0", 16))
	if got := listAll(t, c, raid.FileQuery{Filename: "needle"}); len(got) != searchPage*2/1500 {
		t.Errorf("%d found", len(got))
	}
	if got := listAll(t, c, raid.FileQuery{Filename: "needle", Limit: 1}); len(got) != 1 || got[0].ID != f.ID+1500 {
		t.Errorf("%v found", got)
	}
}

// Whatever valid UTF-8 comes as a name is stored as it was sent, and found by
// every piece of it.
func FuzzFilenameIsStoredAsSent(f *testing.F) {
	for _, s := range []string{"a.jpg", "nul\x00", "%_\\", "'; DROP TABLE upload; --", strings.Repeat("ä", 5000), "\u202e\ufeff", "İ", "ß", "K"} {
		f.Add(s, uint16(1), uint16(3))
	}
	c := openTest(f, "")
	f.Fuzz(func(t *testing.T, name string, from, to uint16) {
		if !utf8.ValidString(name) || name == "" {
			return
		}
		stored := storeNamed(t, c, name)
		defer func() { must(t, c.Delete(bg, stored.ID)) }()
		got, err := c.File(bg, stored.ID)
		must(t, err)
		if got.Filename != name {
			t.Errorf("stored %q, found %q", name, got.Filename)
		}
		runes := []rune(name)
		low := int(from) % len(runes)
		piece := string(runes[low : low+1+int(to)%(len(runes)-low)])
		if found := listAll(t, c, raid.FileQuery{After: stored.ID - 1, Filename: piece}); len(found) != 1 {
			t.Errorf("%q is not found by %q", name, piece)
		}
	})
}
