package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// bin is the trash of a store.
type bin struct{ *store }

func (b bin) Undelete(_ context.Context, id raid.FileID) (raid.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.files[id]; ok {
		return f.File, nil
	}
	f, ok := b.trash[id]
	switch {
	case !ok:
		return raid.File{}, fmt.Errorf("put file %d back: %w in the trash", id, raid.ErrNotFound)
	case f.Degraded:
		return raid.File{}, fmt.Errorf("put file %d back: %w", id, raid.ErrConflict)
	}
	delete(b.trash, id)
	b.files[id] = f
	return f.File, nil
}

func (b bin) Purge(_ context.Context, id raid.FileID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, file := b.files[id]
	_, deleted := b.trash[id]
	if !file && !deleted {
		return fmt.Errorf("delete file %d: %w", id, raid.ErrNotFound)
	}
	delete(b.files, id)
	delete(b.trash, id)
	return nil
}

func (b bin) Empty(context.Context) (gone raid.TrashTotals, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.trash {
		gone = gone.Add(raid.TrashTotals{Files: 1, Bytes: f.Size})
	}
	clear(b.trash)
	return gone, nil
}

func (b bin) Find(_ context.Context, id raid.FileID) (raid.TrashedFile, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := b.trash[id]
	if !ok {
		return raid.TrashedFile{}, raid.ErrNotFound
	}
	return b.trashed(f), nil
}

func (bin) trashed(f stored) raid.TrashedFile {
	return raid.TrashedFile{File: f.File, Deleted: "2026-01-02 03:04:05", Left: time.Hour + time.Millisecond}
}

func (b bin) List(_ context.Context, q raid.FileQuery) iter.Seq2[raid.TrashedFile, error] {
	b.mu.Lock()
	var all []raid.TrashedFile
	for _, f := range b.trash {
		if f.ID > q.After && strings.Contains(f.Filename, q.Filename) {
			all = append(all, b.trashed(f))
		}
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(x, y raid.TrashedFile) int { return cmp.Compare(x.File.ID, y.File.ID) })
	return func(yield func(raid.TrashedFile, error) bool) {
		for i, f := range all {
			if q.Limit > 0 && i == q.Limit || !yield(f, nil) {
				return
			}
		}
		if b.listErr != nil {
			yield(raid.TrashedFile{}, b.listErr)
		}
	}
}

func (s *server) trash(query string) (files []trashed) {
	s.Helper()
	r := s.do("GET", "/trash"+query, nil)
	var answer struct{ Files []trashed }
	if err := json.Unmarshal(r.body, &answer); err != nil || r.StatusCode != http.StatusOK {
		s.Fatalf("GET /trash%s: %d %v: %s", query, r.StatusCode, err, r.body)
	}
	return answer.Files
}

func TestADeletedFileIsPutBack(t *testing.T) {
	s := serve(t, newStore())
	id, other := s.put("a <b>.txt", []byte("hello")), s.put("other.txt", []byte("there"))
	before := s.do("GET", "/files/"+id+"/info", nil)
	etag := s.do("GET", "/files/"+id, nil).Header.Get("ETag")
	for _, each := range []string{id, other} {
		if r := s.do("DELETE", "/files/"+each, nil); r.StatusCode != http.StatusOK || len(r.body) != 0 {
			t.Errorf("delete: %d %q", r.StatusCode, r.body)
		}
		s.wantError(s.do("GET", "/files/"+each, nil), http.StatusNotFound)
	}
	all := s.trash("")
	if len(all) != 2 || all[0].Filename != "a <b>.txt" || all[0].Size != 5 || all[0].SecondsLeft != 3600 || all[0].Deleted != "2026-01-02 03:04:05" || len(all[0].SHA256) != 64 {
		t.Errorf("in the trash: %+v", all)
	}
	for query, want := range map[string]int{"?limit=1": 1, "?after=" + id: 1, "?q=other": 1, "?q=none": 0} {
		if got := s.trash(query); len(got) != want {
			t.Errorf("GET /trash%s: %d files, want %d", query, len(got), want)
		}
	}
	s.wantError(s.do("GET", "/trash?limit=0", nil), http.StatusBadRequest)
	s.wantError(s.do("POST", "/files/"+id+"/undelete", nil, `If-Match: "other"`), http.StatusPreconditionFailed)
	for range 2 { // the second after an answer that was lost
		r := s.do("POST", "/files/"+id+"/undelete", nil, "If-Match: "+etag)
		record := strings.Replace(string(before.body), `,"verified":"2026-01-02 03:04:05"`, "", 1) // in info alone
		if r.StatusCode != http.StatusOK || string(r.body) != record {
			t.Errorf("undelete: %d %s, the record was %s", r.StatusCode, r.body, before.body)
		}
	}
	if r := s.do("GET", "/files/"+id, nil); string(r.body) != "hello" || r.Header.Get("ETag") != etag {
		t.Errorf("put back: %q, ETag %s", r.body, r.Header.Get("ETag"))
	}
	for path, want := range map[string]int{"/files/99/undelete": 404, "/files/x/undelete": 404, "/files//undelete": 404} {
		s.wantError(s.do("POST", path, nil), want)
	}
	s.wantError(s.do("GET", "/files/"+id+"/undelete", nil), http.StatusMethodNotAllowed)
}

func TestWhatIsLostIsNotPutBack(t *testing.T) {
	st := newStore()
	st.change = func(f *raid.File) { f.Degraded = true }
	s := serve(t, st)
	id := s.put("a", []byte("x"))
	s.do("DELETE", "/files/"+id, nil)
	s.wantError(s.do("POST", "/files/"+id+"/undelete", nil), http.StatusConflict)
}

func TestPurgedFilesAreGoneForGood(t *testing.T) {
	s := serve(t, newStore())
	file, deleted, kept := s.put("a", []byte("x")), s.put("b", []byte("y")), s.put("c", []byte("zzz"))
	etag := s.do("GET", "/files/"+deleted, nil).Header.Get("ETag")
	s.do("DELETE", "/files/"+deleted, nil)
	s.wantError(s.do("DELETE", "/files/"+file+"?purge=2", nil), http.StatusBadRequest)
	s.wantError(s.do("DELETE", "/files/"+deleted+"?purge=1", nil, `If-Match: "other"`), http.StatusPreconditionFailed)
	s.wantError(s.do("DELETE", "/files/"+deleted, nil), http.StatusNotFound)
	for _, id := range []string{file, deleted} {
		if r := s.do("DELETE", "/files/"+id+"?purge=1", nil, "If-Match: *"); r.StatusCode != http.StatusOK || len(r.body) != 0 {
			t.Errorf("purge: %d %q", r.StatusCode, r.body)
		}
		s.wantError(s.do("DELETE", "/files/"+id+"?purge=1", nil), http.StatusNotFound)
		s.wantError(s.do("POST", "/files/"+id+"/undelete", nil), http.StatusNotFound)
	}
	s.wantError(s.do("DELETE", "/files/"+deleted+"?purge=1", nil, "If-Match: "+etag), http.StatusNotFound)
	s.do("DELETE", "/files/"+kept+"?purge=0", nil)
	if r := s.do("DELETE", "/trash", nil); strings.TrimSpace(string(r.body)) != `{"files":1,"bytes":3}` {
		t.Errorf("empty the trash: %d %s", r.StatusCode, r.body)
	}
	if r := s.do("DELETE", "/trash", nil); strings.TrimSpace(string(r.body)) != `{"files":0,"bytes":0}` || len(s.trash("")) != 0 {
		t.Errorf("empty the trash once more: %d %s", r.StatusCode, r.body)
	}
}
