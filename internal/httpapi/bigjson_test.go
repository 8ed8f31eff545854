package httpapi

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pattern is endless text of period len(p), cut after left bytes.
type pattern struct {
	p    string
	at   int
	left int64
}

func (p *pattern) Read(b []byte) (n int, err error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.left)]
	for n < len(b) {
		k := copy(b[n:], p.p[p.at:])
		p.at = (p.at + k) % len(p.p)
		n += k
	}
	p.left -= int64(n)
	return n, nil
}

// watchHeap samples the heap until stop is called, which returns the most seen.
func watchHeap() (stop func() uint64) {
	var most atomic.Uint64
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(quit)
		<-done
		return most.Load()
	}
}

// 1 GiB of file in JSON, with its name behind it, stays under a ceiling that has
// nothing to do with its size.
func TestJSONUploadOfOneGiBTakesNoMemory(t *testing.T) {
	size := int64(1 << 30)
	if underRace || testing.Short() {
		size = 32 << 20
	}
	st := newStore()
	st.discard = true
	s := serve(t, st)
	s.client.Timeout = 0
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" // 64 = 48 bytes
	text := size / 3 * 4
	text -= text % 4
	body := io.MultiReader(
		strings.NewReader(`{"contents_b64":"`),
		&pattern{p: strings.Repeat(digits, 1024), left: text},
		strings.NewReader(`","filename":"big","content_type":"a/b"}`))
	runtime.GC()
	stop := watchHeap()
	r := s.do("POST", "/files", body, isJSON)
	most := stop()
	if r.StatusCode != http.StatusCreated || st.files[1].Size != text/4*3 {
		t.Fatalf("%d %s, %d bytes", r.StatusCode, r.body, st.files[1].Size)
	}
	if most > 16<<20 {
		t.Errorf("%d MiB of heap", most>>20)
	}
}
