package sim

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	seeds   = flag.Uint64("seeds", 4, "how many seeds to run")
	first   = flag.Uint64("first", 1, "the first of them")
	jobs    = flag.Uint64("jobs", 0, "run seeds in processes of their own, so many at once; 0: this one runs them")
	twice   = flag.Uint64("twice", 0, "with -jobs: run the first so many seeds twice, and tell whether they were alike")
	verbose = flag.String("log", "", "show the log of runs, of that level and above")
	hashes  = flag.Bool("hashes", false, "show a number for each run that tells whether another one was alike")
	keepDir = flag.Bool("keep", false, "leave the machines' files")
)

// disks keeps all catalogs of this process.
var disks *vfs

func TestMain(m *testing.M) {
	flag.Parse()
	disks = newVFS()
	debug.SetGCPercent(-1) // a collection would change the order of things; see run
	debug.SetMemoryLimit(1 << 30)
	os.Exit(m.Run())
}

// result is the result of a run.
type result struct {
	hash   uint64
	faults []string
	log    []string
}

// run runs a seed. What it left is collected when it is over.
func run(t *testing.T, seed uint64) (r result) {
	level := slog.LevelInfo
	if *verbose != "" {
		if err := level.UnmarshalText([]byte(*verbose)); err != nil {
			t.Fatal(err)
		}
	}
	defer runtime.GC()
	seedRuntime(seed)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, level)
		w.live()
		w.close()
		w.model.checkHistory()
		r = result{w.model.hash(), w.model.faults, w.recorder.lines}
	})
	return r
}

// live is the life of an array: times in which much goes wrong, each followed by one
// in which it gets well.
func (w *world) live() {
	var old *snapshot
	for range 1 + w.rng.IntN(3) {
		w.chaos(20 + w.rng.IntN(40))
		if !w.model.failed() {
			w.heal()
		}
		if !w.model.failed() {
			w.check()
		}
		if w.model.failed() {
			return
		}
		if old == nil {
			old = w.snapshot()
		}
		w.strike()
	}
	if w.rng.IntN(3) == 0 {
		w.rollBack(old)
	}
}

// TestSimulation runs seeds. With -jobs each has a process of its own with one
// processor, in which it replays best.
func TestSimulation(t *testing.T) {
	if *jobs > 0 {
		runJobs(t)
		return
	}
	for seed := *first; seed < *first+*seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := run(t, seed)
			if *hashes {
				fmt.Printf("seed %d %016x\n", seed, r.hash)
			}
			if len(r.faults) > 0 {
				t.Errorf("seed %d:\n%s\nwhat its machines logged: %s\nto see it again: make simulate SEED=%d", seed, strings.Join(r.faults, "\n"), r.keepLog(t, seed), seed)
			}
			if *verbose != "" {
				fmt.Print(strings.Join(r.log, ""))
			}
		})
	}
}

// keepLog writes the log of a run that failed where it can be looked at.
func (r result) keepLog(t *testing.T, seed uint64) string {
	f, err := os.CreateTemp("", fmt.Sprintf("raidpi-seed-%d-*.log", seed))
	if err != nil {
		t.Error(err)
		return ""
	}
	_, err = f.WriteString(strings.Join(r.log, ""))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Error(err)
	}
	return f.Name()
}

// runJobs has other processes of this program run the seeds.
func runJobs(t *testing.T) {
	var next, alike atomic.Uint64
	var all sync.WaitGroup
	for range min(*jobs, *seeds) {
		all.Go(func() {
			for i := next.Add(1); i <= *seeds; i = next.Add(1) {
				seed := *first + i - 1
				hash, ok := runProcess(t, seed)
				if ok && i <= *twice {
					if again, _ := runProcess(t, seed); again == hash {
						alike.Add(1)
					}
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	fmt.Printf("seeds %d to %d: nothing was found\n", *first, *first+*seeds-1)
	if n := min(*twice, *seeds); n > 0 {
		fmt.Printf("%d of %d seeds that were run twice were alike\n", alike.Load(), n)
		if 2*alike.Load() < n {
			t.Error("seeds don't replay: see docs/simulation.md, \"What a seed repeats\"")
		}
	}
}

// runProcess runs one seed, and tells a number for its history, or that it failed.
func runProcess(t *testing.T, seed uint64) (hash string, ok bool) {
	program, err := os.Executable()
	if err != nil {
		t.Error(err)
		return "", false
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestSimulation$", "-test.timeout=0",
		fmt.Sprint("-first=", seed), "-seeds=1", "-log="+*verbose, "-hashes", fmt.Sprint("-keep=", *keepDir))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
		return "", false
	}
	hash, rest, _ := strings.Cut(string(out), "\n")
	if *hashes {
		fmt.Println(hash)
	}
	if *verbose != "" {
		fmt.Print(rest)
	}
	return hash, true
}
