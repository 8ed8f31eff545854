package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// listed reads a listing.
func (s *server) listed(query string) (ids []raid.FileID) {
	s.Helper()
	r := s.do("GET", "/files"+query, nil)
	var list struct{ Files []struct{ ID raid.FileID } }
	if err := json.Unmarshal(r.body, &list); err != nil || r.StatusCode != 200 {
		s.Fatalf("%s: %d %s", query, r.StatusCode, r.body)
	}
	for _, f := range list.Files {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestListingPagesAndSearches(t *testing.T) {
	s := serve(t, newStore())
	for i := range 7 {
		s.put(fmt.Sprintf("file %d.%s", i+1, []string{"jpg", "txt"}[i%2]), nil)
	}
	for query, want := range map[string]string{
		"": "[1 2 3 4 5 6 7]", "?limit=3": "[1 2 3]", "?limit=3&after=3": "[4 5 6]", "?after=7": "[]", "?after=0": "[1 2 3 4 5 6 7]",
		"?q=jpg": "[1 3 5 7]", "?q=jpg&limit=2&after=1": "[3 5]", "?q=%20": "[1 2 3 4 5 6 7]", "?q=": "[1 2 3 4 5 6 7]",
		"?limit=2147483647&after=9223372036854775807": "[]",
	} {
		if got := fmt.Sprint(s.listed(query)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	s.api.cfg.Index = nil // HEAD asks for nothing
	if r := s.do("HEAD", "/files", nil); r.StatusCode != 200 || len(r.body) != 0 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
}

func TestBadListParametersAre400(t *testing.T) {
	s := serve(t, newStore())
	for _, q := range []string{"limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=2147483648", "limit=1&limit=2", "after=-1", "after=x",
		"after=9223372036854775808", "q=%ff", "q=" + strings.Repeat("a", 20_001), "%zz", "a;b"} {
		s.wantError(s.do("GET", "/files?"+q, nil), http.StatusBadRequest)
	}
}

func TestLongFilesShowTheirChunksInInfoOnly(t *testing.T) {
	st := newStore()
	st.change = func(f *raid.File) { f.Stripes = 3 }
	s := serve(t, st)
	s.put("f", nil)
	r := s.do("GET", "/files", nil)
	if !strings.Contains(string(r.body), `"part1_filenames":"","part2_filenames":""`) {
		t.Errorf("list: %s", r.body)
	}
	r = s.do("GET", "/files/1/info", nil)
	if !strings.Contains(string(r.body), `"part1_filenames":"a0x1,a0x2,a1x1,a1x2,a2x1,a2x2","part2_filenames":"b0x1,b0x2,b1x1,b1x2,b2x1,b2x2"`) {
		t.Errorf("info: %s", r.body)
	}
}

func TestListingThatFailsIsNotTakenForWhole(t *testing.T) {
	st := newStore()
	st.listErr = raid.ErrCatalogBroken
	s := serve(t, st)
	s.put("f", nil)
	s.wantError(s.do("GET", "/files", nil), http.StatusServiceUnavailable) // early: a status
	for range 500 {
		s.put("f", nil)
	}
	if r := s.do("GET", "/files", nil); r.err == nil { // late: broken off
		t.Errorf("a torn listing of %d bytes looks whole", len(r.body))
	}
}

// many is an index of very many files.
type many struct {
	*store
	n int
}

func (m many) Files(context.Context, raid.FileQuery) iter.Seq2[raid.File, error] {
	f := raid.File{Filename: strings.Repeat("n", 50), ContentType: "a/b", Stripes: 1, Level: "raid1", PartNames: [][]raid.ChunkName{{"a", "b"}, {"c", "d"}}}
	return func(yield func(raid.File, error) bool) {
		for i := range m.n {
			if f.ID = raid.FileID(i + 1); !yield(f, nil) {
				return
			}
		}
	}
}

func TestListingTakesNoMemoryPerFile(t *testing.T) {
	files := 200_000
	if underRace {
		files = 30_000
	}
	st := newStore()
	s := serve(t, st, func(c *Config) { c.Index = many{st, files} })
	res, err := s.client.Get(s.url + "/files")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var most uint64
	lines := bufio.NewScanner(res.Body)
	n := 0
	for ; lines.Scan(); n++ {
		if n%10_000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if lines.Err() != nil || n != files+2 || most > 16<<20 {
		t.Errorf("%d lines, %v, %d MiB of heap", n, lines.Err(), most>>20)
	}
}

// long is an index whose files have very many chunks. first is called before the
// first name.
type long struct {
	*store
	stripes int64
	first   func()
}

func (l long) File(ctx context.Context, id raid.FileID) (raid.File, error) {
	f, err := l.store.File(ctx, id)
	f.Stripes = l.stripes
	return f, err
}

func (l long) Names(_ context.Context, f raid.File, part int) iter.Seq2[raid.ChunkName, error] {
	return func(yield func(raid.ChunkName, error) bool) {
		l.first()
		for range f.Stripes {
			if !yield("0123456789abcdefghijklmnopqrstuv", nil) {
				return
			}
		}
	}
}

func TestInfoTakesNoMemoryPerStripe(t *testing.T) {
	const stripes = 500_000 // their names would be 32 MB
	st := newStore()
	s := serve(t, st, func(c *Config) { c.Index = long{st, stripes, func() {}} })
	s.put("f", nil)
	res, err := s.client.Get(s.url + "/files/1/info")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var most uint64
	n, buf := 0, make([]byte, 1<<20)
	for err == nil {
		var k int
		k, err = io.ReadFull(res.Body, buf)
		n += bytes.Count(buf[:k], []byte(","))
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
	}
	if n < 2*stripes-2 || most > 16<<20 {
		t.Errorf("%d commas, %v, %d MiB of heap", n, err, most>>20)
	}
}

func TestInfoThatFailsIsNotTakenForWhole(t *testing.T) {
	st := newStore()
	st.change = func(f *raid.File) { f.Stripes = 3 }
	st.namesErr = fmt.Errorf("look up names: %w", raid.ErrNotFound)
	s := serve(t, st)
	s.put("f", nil)
	s.wantError(s.do("GET", "/files/1/info", nil), http.StatusNotFound) // early: a status
	s.put(strings.Repeat("n", 5000), nil)
	st.change = nil
	f := st.files[2]
	f.Filename = strings.Repeat("\x01", listBuffer) // what was written before is more than the buffer
	st.files[2] = f
	if r := s.do("GET", "/files/2/info", nil); r.err == nil {
		t.Errorf("a torn record of %d bytes looks whole", len(r.body))
	}
}

// Clients that read slowly can't have listings without number under way, and
// what is small needs no place.
func TestListingsAreBoundedAndSmallCallsAreNot(t *testing.T) {
	st := newStore()
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	s := serve(t, st, func(c *Config) {
		c.MaxRequests = 2
		c.Index = long{st, 3, func() {
			held <- struct{}{}
			<-hold
		}}
	})
	s.put("f", nil)
	done := make(chan reply)
	for range 2 {
		go func() { done <- s.do("GET", "/files/1/info", nil) }()
		<-held
	}
	for _, path := range []string{"/files", "/files?limit=1", "/files/1/info"} {
		r := s.do("GET", path, nil)
		if m := s.wantError(r, http.StatusServiceUnavailable); !strings.Contains(m, "listings") || r.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %q, %v", path, m, r.Header)
		}
		if r := s.do("HEAD", path, nil); r.StatusCode != 200 {
			t.Errorf("HEAD %s: %d", path, r.StatusCode)
		}
	}
	for _, path := range []string{"/status", "/nodes", "/files/1", "/livez"} {
		if r := s.do("GET", path, nil); r.StatusCode != 200 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	s.put("g", nil)
	s.api.cfg.Index = st // a file of one stripe
	if r := s.do("GET", "/files/1/info", nil); r.StatusCode != 200 {
		t.Errorf("info of a small file: %d", r.StatusCode)
	}
	close(hold)
	for range 2 {
		if r := <-done; r.StatusCode != 200 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if r := s.do("GET", "/files", nil); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}
