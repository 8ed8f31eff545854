package raidctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/raidpi/raidpi/internal/client"
)

// maxJobs bounds --jobs. The controller serves 64 transfers at once unless it is told
// otherwise.
const maxJobs = 64

// uploads stores several files, some of them at once. Results come out in the order of
// the arguments.
type uploads struct {
	*upload
	paths []string
	bar   *meter

	mu       sync.Mutex
	results  []outcome
	next     int                      // the first whose result is not out
	sent     []int64                  // bytes of each file
	sum      int64                    // of them
	total    int64                    // what that will be, as far as sizes are known
	stored   int                      // files
	bytes    int64                    // of those
	reported error                    // writing a result failed
	lost     *client.UnreachableError // there is no controller: the rest would not find it either
}

// outcome is the end of the upload of a file.
type outcome struct {
	done   bool
	stored uploaded
	err    error
}

// many stores several files. What failed is told at the end; the first failure, in the
// order of the arguments, decides the exit status.
func (u *upload) many(ctx context.Context, paths []string) error {
	all := &uploads{upload: u, paths: paths, results: make([]outcome, len(paths)), sent: make([]int64, len(paths))}
	all.bar = u.meter("", 0)
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			all.total += info.Size()
		}
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(u.jobs, len(paths)) {
		workers.Go(func() {
			for i := range work {
				all.one(limited, i, stop)
			}
		})
	}
	for i := range paths {
		select {
		case work <- i:
			continue
		case <-limited.Done():
		}
		break
	}
	close(work)
	workers.Wait()
	all.bar.done()
	return all.end(ctx)
}

// one uploads a file. Without a controller it stops the others.
func (a *uploads) one(ctx context.Context, i int, stop func()) {
	if ctx.Err() != nil {
		return
	}
	a.describe()
	stored, err := a.file(ctx, a.paths[i], func(n, _ int64) { a.progress(i, n) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.results[i] = outcome{true, stored, err}
	if err == nil {
		a.stored++
		a.bytes += stored.Size
	}
	if errors.As(err, &a.lost) {
		stop()
	}
	a.flush(false)
}

// progress notes the bytes sent of one file.
func (a *uploads) progress(i int, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sum += n - a.sent[i] // less than before when an upload is repeated
	a.sent[i] = n
	a.bar.at(a.sum, max(a.total, a.sum))
}

// describe tells which file of how many is under way.
func (a *uploads) describe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	under := 1
	for _, r := range a.results {
		if r.done {
			under++
		}
	}
	a.bar.rename(fmt.Sprintf("file %d of %d", min(under, len(a.paths)), len(a.paths)))
}

// flush prints the results that are next in order, or all that there are.
func (a *uploads) flush(all bool) {
	for ; a.next < len(a.results) && (all || a.results[a.next].done); a.next++ {
		r := a.results[a.next]
		if !r.done || r.err != nil || a.reported != nil {
			continue
		}
		a.bar.clear()
		a.reported = a.report(r.stored)
	}
}

// end tells what failed, what is left, and how to go on.
func (a *uploads) end(ctx context.Context) error {
	a.flush(true)
	if a.reported != nil {
		return a.reported
	}
	var first error
	var left []string
	toldLost := false
	for i, r := range a.results {
		var cut *interruptedUpload
		var lost *client.UnreachableError
		path := a.paths[i]
		switch {
		case r.done && r.err == nil:
		case !r.done, errors.As(r.err, &lost) && toldLost:
			left = append(left, "not stored: "+path)
		case errors.As(r.err, &cut) && cut.whole:
			left = append(left, "perhaps stored: "+path+", as raidctl ls shows")
		case errors.As(r.err, &cut):
			left = append(left, "not stored: "+path)
		default:
			toldLost = toldLost || lost != nil
			err := fmt.Errorf("upload %s: %w", path, r.err)
			a.printError(ctx, err)
			if first == nil {
				first = said{err}
			}
		}
	}
	a.summary(ctx, left)
	if first == nil && len(left) > 0 {
		return said{errInterrupted}
	}
	return first
}

// maxLeft is the number of files left that are named.
const maxLeft = 20

// summary says how many files are stored, when not all are or a person watches, and
// which are left.
func (a *uploads) summary(ctx context.Context, left []string) {
	text := fmt.Sprintf("%d of %d files are stored, %s", a.stored, len(a.paths), humanSize(a.bytes))
	missing := len(a.paths) - a.stored
	if missing > 0 {
		text += fmt.Sprintf("; %d are not. To go on, upload those alone", missing)
	}
	for _, line := range left[:min(len(left), maxLeft)] {
		text += "\n" + line
	}
	if more := len(left) - maxLeft; more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	switch {
	case missing > 0:
		a.printError(ctx, errors.New(text)) // which says too whether it was interrupted
	case a.watched && !a.json:
		fmt.Fprintf(a.stderr, "raidctl: %s\n", text)
	}
}

// interruptedUpload says what an interruption left of a single file. Its text follows
// "interrupted: upload FILE: ".
type interruptedUpload struct {
	error
	whole bool // all of it was sent
	name  string
}

func (e *interruptedUpload) Error() string {
	if e.whole {
		return fmt.Sprintf("all of it was sent, so it may be stored: raidctl ls --filter %q shows it", e.name)
	}
	return "nothing of it was stored; the same command begins anew"
}

// Unwrap returns the error that ended the upload.
func (e *interruptedUpload) Unwrap() error { return e.error }
