//go:build armboot

package arm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// stored are files that the array has answered 201 for.
type stored struct {
	mu    sync.Mutex
	files map[int64]cluster.Content
}

func (s *stored) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files)
}

// upload stores files, one after another by each of some clients, until the context
// ends. Only a 201 counts; what else is said comes back.
func (s *stored) upload(ctx context.Context, api *cluster.API, seed uint64) error {
	const clients = 3
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				c := cluster.Content{Seed: seed + n*clients + uint64(client), Size: 1 + int64(n*77_777)%(300<<10)}
				made, err := api.Upload(ctx, fmt.Sprintf("file-%d", c.Seed), c.Reader(), c.Size)
				if err != nil && ctx.Err() == nil {
					errs[client] = errors.Join(errs[client], err)
					return
				}
				if err == nil {
					s.mu.Lock()
					s.files[made.ID] = c
					s.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (v *machine) checkAll(api *cluster.API, s *stored) {
	v.t.Helper()
	for id, c := range s.files {
		v.check(api, id, c)
	}
}

// TestClockMayBeWrongAndJump begins in 1970, as a Pi without a network does. Then
// the network comes, later somebody sets a wrong year, all under load.
func TestClockMayBeWrongAndJump(t *testing.T) {
	v := newMachine(t, models["arm64"], "-rtc", "base=1970-01-01T00:00:00")
	v.powerOn("raidpi.clock=1970")
	if out := v.must("date +%Y"); out != "1970" {
		t.Fatalf("the year is %s", out)
	}
	if out := v.must("journalctl -q -o cat -u raid-controller -p warning"); !strings.Contains(out, "clock") || !strings.Contains(out, "timedatectl") {
		t.Errorf("the controller does not warn of its clock: %s", out)
	}
	api, _ := v.array() // joined and let in, in 1970
	first := v.store(api, content(mib))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	files := &stored{files: map[int64]cluster.Content{first: content(mib)}}
	ended := make(chan error, 1)
	go func() { ended <- files.upload(ctx, api, 1000) }()
	for _, date := range []string{"2026-12-01 12:00:00", "1971-03-01 00:00:00", "2040-01-01 00:00:00", "2026-12-01 13:00:00"} {
		before := files.count()
		v.must("date -s '" + date + "'")
		v.until(3*time.Minute, "files are stored after the clock went to "+date, func() error {
			if n := files.count(); n < before+10 {
				return fmt.Errorf("%d files were stored", n-before)
			}
			return nil
		})
		v.allUp(api)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("while the clock jumped: %v", err)
	}
	v.checkAll(api, files)
	for _, daemon := range daemons {
		if out := v.must("systemctl show -p NRestarts --value " + daemon); out != "0" {
			t.Errorf("%s was started anew %s times", daemon, out)
		}
	}
	// A token made in 1970 is good still, and the members know each other after a start.
	v.must("systemctl restart raid-controller raid-node")
	v.allUp(api)
	v.checkAll(api, files)
	t.Logf("%d files were stored while the clock jumped", files.count())
}
