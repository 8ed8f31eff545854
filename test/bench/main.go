// Command bench measures an array on this machine and prints a table of
// figures, targets and ratios.
//
// Client, controller, four nodes and disk share the machine. Disks differ and machines are noisy,
// so each load runs in turn with the floor. That is the same bytes written to the same disk by a
// plain program, see floor.go. Ratios to the floor can be compared between machines; absolute
// figures can't. All figures are medians of the rounds.
//
// What the table holds:
//   - PUT and GET of 64 MiB by 4 clients, 1 MiB by 8, 4 KiB by 16. Every object
//     is unique, and every GET is checked by CRC-32C.
//   - the CPU time that controller and nodes take for a gigabyte (10^9 bytes),
//     from /proc/pid/stat;
//   - their resident memory, idle and at its peak, from /proc/pid/status;
//   - what TLS between controller and nodes costs: the same loads on an array whose
//     nodes have joined, in turn with the first;
//   - the longest request while one of four nodes hangs;
//   - how fast what a lost node held is made again, of large, medium and small files,
//     and what small requests notice of it;
//   - how fast an idle node reads its chunks, beside cat(1), and what requests notice;
//   - how long a node's chunks take to be compared with the catalog, and what memory;
//   - of a generated catalog with 500 nodes: its size, and the time to find what
//     one held and to say whether one may be unplugged;
//   - what an idle array takes of the processor and writes to the disk;
//   - the time from starting all processes to the first /readyz with all nodes up;
//   - the size of the programs.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	bin := fs.String("bin", "bin", "where the built programs are")
	dir := fs.String("dir", ".bench", "folder for all data; emptied at the start and at the end")
	quick := fs.Bool("quick", false, "one short round of everything, for a first look")
	only := fs.String("only", "", "regular expression: measure only what it matches, of: 64MiB 1MiB 4KiB memory tls stall heal-large heal-medium heal-small heal-beside scrub reconcile many idle start size")
	chunks := fs.Int("chunks", 0, "the most chunks of \"many\"; 0: 10,000,000, or 200,000 with -quick. 50,000,000 take half an hour")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	pick, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(stderr, "bench: -only:", err)
		return 2
	}
	s := &suite{bin: *bin, dir: *dir, pick: pick, progress: stderr, scale: thorough}
	if *quick {
		s.scale = short
	}
	if *chunks > 0 {
		s.scale.many = []int{max(*chunks/10, 1), *chunks}
	}
	describeMachine(stdout, *dir)
	err = s.run(ctx)
	s.table.print(stdout)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}
