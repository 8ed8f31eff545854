//go:build nspawn

package pis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/nspawn"
)

// longestStall is three times what a node that is gone may hold a request up by on a quiet machine.
// These hosts share two cores.
const longestStall = 9 * time.Second

// attempt is one upload.
type attempt struct {
	by         string
	began, end time.Time
	id         int64
	content    cluster.Content
	err        error // nil: it was answered with 201
}

// traffic stores files from the laptop until stop, and remembers all that came of it.
type traffic struct {
	laptop *host
	key    string
	stopIt context.CancelFunc
	wg     sync.WaitGroup
	seeds  atomic.Uint64

	mu   sync.Mutex
	done []attempt
}

// startTraffic stores one file after the other with curl, and beside it with raidctl.
func startTraffic(laptop *host, key string) *traffic {
	ctx, stop := context.WithCancel(laptop.t.Context())
	f := &traffic{laptop: laptop, key: key, stopIt: stop}
	for by, upload := range map[string]func(context.Context, string, cluster.Content) (int64, error){"curl": f.curl, "raidctl": f.raidctl} {
		f.wg.Go(func() {
			for ctx.Err() == nil {
				f.store(ctx, by, upload)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	return f
}

func (f *traffic) stop() {
	f.stopIt()
	f.wg.Wait()
}

// store uploads one file: most are small, some are of more than one stripe.
func (f *traffic) store(ctx context.Context, by string, upload func(context.Context, string, cluster.Content) (int64, error)) {
	seed := f.seeds.Add(1)
	size := int64(1000 + seed*7919%200_000)
	if seed%8 == 0 {
		size = 5<<20 + int64(seed)
	}
	a := attempt{by: by, content: cluster.Content{Seed: seed, Size: size}, began: time.Now()}
	a.id, a.err = upload(ctx, fmt.Sprintf("%s-%d", by, seed), a.content)
	a.end = time.Now()
	if ctx.Err() != nil && a.err != nil {
		return // stopped in the middle
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, a)
}

// curl is the README's line. Its answer's status decides, as for a person. The controller may have
// lost its power while curl waits for the answer. curl asks whether it still knows of the
// connection after five seconds instead of a minute.
func (f *traffic) curl(ctx context.Context, name string, c cluster.Content) (int64, error) {
	r, err := f.laptop.Run(ctx, nspawn.Command{
		Lines: `curl -sS --keepalive-time 5 -w ' %{http_code}' --cacert raidpi-ca.pem -H "Authorization: Bearer $RAID_TOKEN" -F "file=@-;filename=$NAME" https://controller.local:9000/files`,
		Env:   []string{"RAID_TOKEN=" + f.key, "NAME=" + name}, Stdin: c.Reader(),
	})
	if err != nil {
		return 0, err
	}
	body, is201 := strings.CutSuffix(r.Out, " 201")
	if !is201 {
		return 0, fmt.Errorf("answered with %s", r.Out)
	}
	var created cluster.Created
	if err := json.Unmarshal([]byte(body), &created); err != nil {
		return 0, fmt.Errorf("status 201, and then %q: %w", body, err)
	}
	return created.ID, nil
}

func (f *traffic) raidctl(ctx context.Context, name string, c cluster.Content) (int64, error) {
	r, err := f.laptop.Run(ctx, nspawn.Command{Lines: `raidctl upload --name "$NAME" -`, Env: []string{"NAME=" + name}, Stdin: c.Reader()})
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(r.Out), 10, 64)
}

// since are the uploads that began after a moment and have ended.
func (f *traffic) since(start time.Time) []attempt {
	return f.those(func(a attempt) bool { return a.began.After(start) })
}

// those are the uploads that have ended and are asked for.
func (f *traffic) those(asked func(attempt) bool) []attempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []attempt
	for _, a := range f.done {
		if asked(a) {
			found = append(found, a)
		}
	}
	return found
}

// flows waits until both programs have stored a file from now on.
func (f *traffic) flows(t *testing.T) {
	t.Helper()
	start, last := time.Now(), errors.New("none failed")
	ok := map[string]bool{}
	until(t, "uploads succeed by curl and by raidctl", patience, func() bool {
		for _, a := range f.since(start) {
			if a.err == nil {
				ok[a.by] = true
			} else {
				last = a.err
			}
		}
		return len(ok) == 2
	}, func() string { return fmt.Sprintf("by now: %v; the last error: %v", ok, last) })
}

// through does something to one node at a time, during which no upload may fail or
// take longer than the array promises.
func (f *traffic) through(t *testing.T, what string, do func()) {
	t.Helper()
	f.flows(t)
	start := time.Now()
	do()
	end := time.Now()
	f.flows(t) // what was under way has ended
	uploads, longest := 0, time.Duration(0)
	// Those that were under way when it began above all.
	for _, a := range f.those(func(a attempt) bool { return a.end.After(start) && a.began.Before(end) }) {
		uploads++
		took := a.end.Sub(a.began)
		longest = max(longest, took)
		if a.err != nil {
			t.Errorf("%s: an upload by %s, which began %+.1f s from then, failed after %v: %v", what, a.by, a.began.Sub(start).Seconds(), took.Round(time.Millisecond), a.err)
		}
	}
	t.Logf("%-50s %5.1f s: %3d uploads, the longest took %.2f s", what, end.Sub(start).Seconds(), uploads, longest.Seconds())
	if longest > longestStall {
		t.Errorf("%s: an upload took %v, want at most %v", what, longest, longestStall)
	}
}

// despite does something that uploads may fail of; they must go on afterwards.
func (f *traffic) despite(t *testing.T, what string, do func()) {
	t.Helper()
	start := time.Now()
	do()
	end := time.Now()
	f.flows(t)
	ok, failed := 0, 0
	for _, a := range f.since(start) {
		if a.err == nil {
			ok++
		} else {
			failed++
		}
	}
	t.Logf("%-50s %5.1f s, and uploads again after %.1f s: %d stored, %d failed", what, end.Sub(start).Seconds(), time.Since(end).Seconds(), ok, failed)
}

// readBack compares everything that was answered with 201.
func (f *traffic) readBack(t *testing.T, api *cluster.API) {
	t.Helper()
	f.mu.Lock()
	done := f.done
	f.mu.Unlock()
	var stored, failed int
	tasks := make(chan attempt)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for a := range tasks {
				sum, size, err := api.Digest(t.Context(), a.id)
				if err != nil || sum != a.content.SHA256() {
					t.Errorf("file %d, %d bytes, which was answered with 201 at %s, reads back as %d bytes: %v", a.id, a.content.Size, a.end.Format(time.TimeOnly), size, err)
				}
			}
		})
	}
	for _, a := range done {
		if a.err != nil {
			failed++
			continue
		}
		stored++
		tasks <- a
	}
	close(tasks)
	wg.Wait()
	t.Logf("of %d uploads in the whole run %d were answered with 201; all of these were read back", len(done), stored)
	if stored < 50 {
		t.Errorf("only %d files were stored, %d uploads failed: too few to prove anything", stored, failed)
	}
}
