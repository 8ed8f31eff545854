package sim

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// grace is [repair] grace: short, so that a run sees nodes lost.
const grace = 15 * time.Second

// scrubEvery is [repair] scrub_every: short, so that rot is found while a run lasts.
const scrubEvery = 2 * time.Minute

// world is one run: an array, what befalls it, and what is known of it.
type world struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand // of the event loop alone
	began    time.Time
	dir      string
	recorder *recorder
	log      *slog.Logger
	net      *network
	boss     *boss
	pis      []*pi
	model    *model
	clients  []*client
	busy     sync.WaitGroup // requests under way

	failedDisk bool // some node's disk was told to fail, by which good copies may be given up
}

// newWorld must be called inside a bubble; close must be called at its end.
func newWorld(t *testing.T, seed uint64, level slog.Level) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), began: time.Now()}
	w.recorder = &recorder{w: w}
	w.log = newLog(w, level)
	var err error
	if w.dir, err = os.MkdirTemp(memoryDir(), "raidpi-sim"); err != nil {
		t.Fatal(err)
	}
	w.net = newNetwork(seed)
	w.model = newModel(w)
	w.boss = newBoss(w)
	w.boss.start()
	<-w.boss.ready
	for i := range 3 + w.rng.IntN(3) {
		w.addPi(fmt.Sprintf("pi%d", i+1))
	}
	for i := range 3 {
		w.clients = append(w.clients, newClient(w, fmt.Sprintf("client%d", i+1)))
	}
	return w
}

// memoryDir is a folder in memory, where there is one.
func memoryDir() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

func (w *world) addPi(name string) *pi {
	p := &pi{w: w, name: name, dir: filepath.Join(w.dir, name), rottens: map[string]bool{}}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.pis = append(w.pis, p)
	p.start()
	w.settle()
	return p
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// note puts a line into the run's log.
func (w *world) note(text string, args ...any) { w.log.Info("== "+text, args...) }

// settle waits until nothing moves any more at this moment of the run.
func (w *world) settle() { synctest.Wait() }

// close ends all machines and gives back what they had.
func (w *world) close() {
	w.busy.Wait()
	for _, p := range w.pis {
		if err := p.end(); err != nil {
			w.model.fault("node %s ended with: %v", p.name, err)
		}
	}
	if w.boss.running {
		if err := w.boss.end(); err != nil {
			w.model.fault("the controller ended with: %v", err)
		}
	}
	for _, c := range w.clients {
		c.http.CloseIdleConnections()
	}
	w.net.wg.Wait()
	disks.remove(w.boss.disk)
	if !*keepDir {
		os.RemoveAll(w.dir)
	}
}
