// Command plant shows what the simulation is worth. It plants bugs in the sources, one at a time
// and never on disk, and counts the seeds until the simulation finds each.
//
//	go run ./test/sim/plant [-seeds 1000] [-only PART-OF-A-NAME]
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// batch is the number of seeds that are run before a look whether one found something.
const batch = 20

func main() {
	seeds := flag.Int("seeds", 1000, "how many seeds each bug gets")
	only := flag.String("only", "", "plant those alone whose name has this in it")
	flag.Parse()
	if err := run(*seeds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
}

func run(seeds int, only string) error {
	dir, err := os.MkdirTemp("", "plant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("| bug | found by seed | it says |\n| --- | --- | --- |")
	missed := 0
	for _, b := range bugs {
		if !strings.Contains(b.name, only) {
			continue
		}
		seed, says, err := b.hunt(dir, seeds)
		switch {
		case err != nil:
			missed++
			fmt.Printf("| %s | was not planted | %v |\n", b.name, err)
		case seed == 0:
			missed++
			fmt.Printf("| %s | none of %d | |\n", b.name, seeds)
		default:
			fmt.Printf("| %s | %d | %s |\n", b.name, seed, says)
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d bugs were not found", missed)
	}
	return nil
}

// hunt builds the simulation with the bug and runs it until it finds something. seed is
// 0 when it finds nothing.
func (b *bug) hunt(dir string, seeds int) (seed int, says string, err error) {
	program, err := b.build(dir)
	if err != nil {
		return 0, "", err
	}
	defer os.Remove(program)
	for first := 1; first <= seeds; first += batch {
		cmd := exec.Command(program, "-test.run=^TestSimulation$", "-test.timeout=0",
			fmt.Sprint("-first=", first), fmt.Sprint("-seeds=", min(batch, seeds-first+1)), fmt.Sprint("-jobs=", runtime.NumCPU()))
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		if seed, says := verdict(string(out)); seed > 0 {
			return seed, says, nil
		}
		return first, firstLine(out), nil // it broke down
	}
	return 0, "", nil
}

var failed = regexp.MustCompile(`seed (\d+):\n\s*at [^ ]+: (.*)`)

// verdict is the lowest seed that found something, and what.
func verdict(out string) (seed int, says string) {
	for _, m := range failed.FindAllStringSubmatch(out, -1) {
		var n int
		if _, err := fmt.Sscan(m[1], &n); err == nil && (seed == 0 || n < seed) {
			seed, says = n, m[2]
		}
	}
	if len(says) > 120 {
		says = says[:120] + "…"
	}
	return seed, says
}

func firstLine(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "panic") || strings.Contains(line, "fatal") {
			return strings.TrimSpace(line)
		}
	}
	return "the simulation broke down"
}

// build compiles the simulation over a copy of the sources that has the bug.
func (b *bug) build(dir string) (program string, err error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	file := filepath.Join(dir, "overlay.json")
	// What it finds is to replay.
	if out, err := exec.Command("go", "run", "./test/sim/determined", "-dir", dir).CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	runtime, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(runtime, &overlay)
	}
	if err != nil {
		return "", err
	}
	for i, e := range b.edits {
		path, err := filepath.Abs(e.file)
		if err != nil {
			return "", err
		}
		from := path
		if planted := overlay.Replace[path]; planted != "" {
			from = planted
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			return "", fmt.Errorf("%s has %d times what is to be replaced, %q: the list of bugs is out of date", e.file, n, e.old)
		}
		planted := filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(path)))
		if err := os.WriteFile(planted, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[path] = planted
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, fmt.Sprintf("sim-%d", time.Now().UnixNano()))
	cmd := exec.Command("go", "test", "-c", "-overlay", file, "-tags", "determined", "-o", program, "./test/sim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		return "", err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return program, nil
}
