// Package kit has what the tests of many packages need: waiting for something, a log that
// is read while it is written, and programs that are built once.
package kit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds how long [Eventually] waits. It is long, for machines that do much else.
const Patience = 20 * time.Second

// Eventually waits until ok, which it asks every 5 ms, and fails the test after [Patience].
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not after %v: %s", Patience, what)
		}
	}
}

// Log is written by goroutines, and read by others meanwhile. The zero Log is empty.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written up to now.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Count returns the number of times that a text was written.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// RunWithProgram is for a TestMain: it builds the program of the package pkg into a folder
// of its own, has the tests run, and returns their exit status. The folder is removed
// afterwards. ready gets the program's path before the tests run.
func RunWithProgram(m *testing.M, pkg string, ready func(binary string)) int {
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "program")
	if abs, err := filepath.Abs(pkg); err == nil {
		binary = filepath.Join(dir, filepath.Base(abs))
	}
	cmd := exec.Command("go", "build", "-o", binary, pkg)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %v\n", pkg, err)
		return 1
	}
	ready(binary)
	return m.Run()
}

// Data is n bytes that differ from place to place.
func Data(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
