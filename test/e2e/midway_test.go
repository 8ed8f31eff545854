package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// smallStripes make a file of some MiB a file of many stripes.
const smallStripes = "RAID_CONTROLLER_RAID_STRIPE_SIZE=512KiB"

// tripwire is a reader that does something once so many bytes were read. The
// HTTP client reads a body in a goroutine that may outlast the request, hence
// the sync.Once.
type tripwire struct {
	io.Reader
	left int64
	do   func()
	once sync.Once
}

func (w *tripwire) Read(p []byte) (int, error) {
	if w.left <= 0 {
		w.fire()
	}
	n, err := w.Reader.Read(p)
	w.left -= int64(n)
	return n, err
}

func (w *tripwire) fire() { w.once.Do(w.do) }

// disaster says what happens to a node in the middle of a transfer, and how the node comes back.
type disaster struct {
	strike, mend func(*cluster.Daemon) error
	points       []float64 // of the transfer, at each of which it strikes
}

var killed = disaster{
	strike: (*cluster.Daemon).Kill, mend: (*cluster.Daemon).Start,
	points: []float64{0, 0.2, 0.5, 0.8, 1},
}

var hung = disaster{
	strike: (*cluster.Daemon).Freeze, mend: (*cluster.Daemon).Thaw,
	points: []float64{0.1, 0.8},
}

// eachTime runs the transfer with the disaster at every point and for every node. Not
// with each of them at each point: nodes are alike.
func (d disaster) eachTime(a *array, transfer func(point float64, strike func())) {
	for i := range max(len(d.points), len(a.Nodes)) {
		point, nth := d.points[i%len(d.points)], i%len(a.Nodes)
		transfer(point, func() {
			if err := d.strike(a.Nodes[nth]); err != nil {
				a.t.Error(err)
			}
		})
		a.must(d.mend(a.Nodes[nth]))
		if err := a.WaitUp(a.t.Context(), len(a.Nodes)); err != nil {
			a.t.Fatalf("node%d struck at %.0f %%: %v", nth+1, point*100, err)
		}
	}
}

// uploadsSurvive uploads a file again and again while disaster strikes.
func (d disaster) uploadsSurvive(t *testing.T) {
	a := start(t, cluster.Config{Nodes: 4, Joined: true, Bin: programs.race, ControllerEnv: []string{smallStripes}})
	const size = 12 * mib
	stored := map[int64]cluster.Content{}
	d.eachTime(a, func(point float64, strike func()) {
		c := content(size)
		var began time.Time
		body := &tripwire{Reader: c.Reader(), left: int64(point * size), do: func() { strike(); began = time.Now() }}
		created, err := a.API.Upload(t.Context(), "midway", io.NopCloser(body), size)
		if err != nil {
			t.Fatalf("struck at %.0f %%: upload: %v", point*100, err)
		}
		body.fire() // if the client never read past the body's end
		noLongStall(t, "upload", point, began)
		began = time.Now()
		a.check(created.ID, c)
		noLongStall(t, "download after the upload", point, began)
		stored[created.ID] = c
	})
	a.becomesWhole()
	for id, c := range stored {
		a.check(id, c)
	}
}

func noLongStall(t *testing.T, what string, point float64, began time.Time) {
	t.Helper()
	if took := time.Since(began); took > longestStall {
		t.Errorf("struck at %.0f %%: the %s took %v, want at most %v", point*100, what, took, longestStall)
	}
}

// downloadsSurvive downloads a file again and again while disaster strikes.
func (d disaster) downloadsSurvive(t *testing.T) {
	a := start(t, cluster.Config{Nodes: 4, Joined: true, Bin: programs.race, ControllerEnv: []string{smallStripes}})
	const size = 32 * mib // more than read-ahead and sockets hold
	c := content(size)
	id, want := a.upload(c).ID, c.SHA256()
	d.eachTime(a, func(point float64, strike func()) {
		var began time.Time
		sum, err := download(t.Context(), a.API, id, int64(point*size), func() { strike(); began = time.Now() })
		if err != nil {
			t.Fatalf("struck at %.0f %%: download: %v", point*100, err)
		}
		if sum != want {
			t.Fatalf("struck at %.0f %%: the download's SHA-256 is %x, want %x", point*100, sum, want)
		}
		noLongStall(t, "download", point, began)
	})
	a.becomesWhole()
}

// download reads a file, does something after so many bytes, and reads on.
func download(ctx context.Context, api *cluster.API, id, after int64, do func()) (sum [32]byte, err error) {
	body, err := api.Download(ctx, id)
	if err != nil {
		return sum, err
	}
	defer body.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, body, after); err != nil {
		return sum, fmt.Errorf("read the first %d bytes: %w", after, err)
	}
	do()
	if _, err := io.Copy(h, body); err != nil {
		return sum, fmt.Errorf("read on after %d bytes: %w", after, err)
	}
	h.Sum(sum[:0])
	return sum, nil
}

func TestUploadSurvivesNodeKilledMidway(t *testing.T) {
	t.Parallel()
	killed.uploadsSurvive(t)
}

func TestUploadSurvivesNodeHungMidway(t *testing.T) {
	t.Parallel()
	hung.uploadsSurvive(t)
}

func TestDownloadSurvivesNodeKilledMidway(t *testing.T) {
	t.Parallel()
	killed.downloadsSurvive(t)
}

func TestDownloadSurvivesNodeHungMidway(t *testing.T) {
	t.Parallel()
	hung.downloadsSurvive(t)
}
