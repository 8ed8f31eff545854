// Command determined writes the sources of a Go runtime in which a seed decides what is otherwise
// left to chance. They are those of the Go that is installed, with a few lines changed. They stay
// in a folder of their own, from which `go build -overlay` reads them. No package is there for
// ./... when its name begins with an underscore.
//
//	go run ./test/sim/determined -dir _DIR
//	go test -c -overlay _DIR/overlay.json -tags determined ./test/sim
//
// It serves processes with GOMAXPROCS=1 whose goroutines wait for nothing outside.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// edit replaces what is there once in a file of package runtime.
type edit struct{ file, old, new string }

// edits are made for Go 1.26. What they are about stands before each.
var edits = []edit{
	// One generator for all, which the simulation seeds through runtime.simulated. The
	// order in which maps are walked comes from it.
	{"rand.go", "var readRandomFailed bool\n", `var readRandomFailed bool

//go:linkname simulated
var simulated uint64 // state of the generator; 0: chance decides
`},
	{"rand.go", "func rand() uint64 {\n", `func rand() uint64 {
	if simulated != 0 {
		simulated += 0xa0761d6478bd642f
		hi, lo := math.Mul64(simulated, simulated^0xe7037ed1a0b428db)
		return hi ^ lo
	}
`},
	// A thread draws nothing from it when it begins, which may be at any moment.
	{"rand.go", "mp.cheaprand = rand()", "mp.cheaprand = bootstrapRand()"},
	// Hashes, and where the heap begins, are the same in all processes.
	{"rand.go", "	if len(startupRand) >= 16 &&\n", "	if seed[0] = 1; seed[0] == 1 {\n	} else if len(startupRand) >= 16 &&\n"},
	// Which of several channels that are ready is taken.
	{"select.go", "cheaprandn(uint32(norder + 1))", "randn(uint32(norder + 1))"},
	// Which of several timers that fire at one moment goes first.
	{"time.go", "t.rand = cheaprand()", "t.rand = uint32(rand())"},
	// Nobody is interrupted since the real clock says so, and nobody else runs while a
	// system call lasts.
	{"proc.go", "		usleep(delay)\n\n		// sysmon should not enter", "		usleep(delay)\n		if simulated != 0 {\n			continue\n		}\n\n		// sysmon should not enter"},
	// All goroutines share one thread, so that none begins at a moment of its own.
	{"proc.go", "func LockOSThread() {\n", "func LockOSThread() {\n	if simulated != 0 {\n		return\n	}\n"},
	// A mutex is handed over as if nobody had waited for long.
	{"sema.go", "func internal_sync_nanotime() int64 {\n", "func internal_sync_nanotime() int64 {\n	if simulated != 0 {\n		return 1\n	}\n"},
}

func main() {
	dir := flag.String("dir", "", "where the files are written")
	command := flag.String("go", "go", "the go command that will compile them")
	flag.Parse()
	if err := write(*dir, *command); err != nil {
		fmt.Fprintln(os.Stderr, "determined:", err)
		os.Exit(1)
	}
}

func write(dir, command string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := exec.Command(command, "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("%s env GOROOT: %w", command, err)
	}
	from := filepath.Join(strings.TrimSpace(string(root)), "src", "runtime")
	texts := map[string]string{}
	for _, e := range edits {
		text, there := texts[e.file]
		if !there {
			b, err := os.ReadFile(filepath.Join(from, e.file))
			if err != nil {
				return err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return fmt.Errorf("%s of this Go has %d times what is to be replaced, %q: see what became of it", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range texts {
		to := filepath.Join(dir, file)
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
		overlay.Replace[filepath.Join(from, file)] = to
	}
	list, err := json.MarshalIndent(overlay, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o644)
}
