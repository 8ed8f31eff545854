package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// describeMachine writes what a reader must know to judge the figures.
func describeMachine(w io.Writer, dir string) {
	fmt.Fprintf(w, "%d cores, %s; %s of memory; Linux %s; %s on %s; %s\n\n",
		runtime.NumCPU(), cpuModel(), memory(), firstLine("/proc/sys/kernel/osrelease"), fileSystem(dir), runtime.GOARCH, runtime.Version())
}

// warm writes a file of that many bytes, at most a quarter of the memory that is available, and
// removes it. A virtual machine's memory is often lent out again two seconds after it is freed
// (page reporting). Then the first writer of each page pays for its return, more than for the write
// itself. So a program that is measured after a pause would look slower than it is.
func warm(path string, bytes int64) error {
	var kib int64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemAvailable"), "%d", &kib); err != nil {
		return fmt.Errorf("read MemAvailable: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	defer os.Remove(path)
	piece := make([]byte, writePiece)
	for left := min(bytes, kib*1024/4); left > 0; left -= writePiece {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// field finds a "name : value" line.
func field(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func cpuModel() string {
	if m := field("/proc/cpuinfo", "model name"); m != "unknown" {
		return m
	}
	return field("/proc/cpuinfo", "Model") // on a Pi
}

func memory() string {
	var kib int64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d", &kib); err != nil {
		return "unknown size"
	}
	return fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20))
}

// fileSystem returns the type of the file system of a folder, or of the nearest one above it that
// exists. It is that of the longest mount point above it.
func fileSystem(dir string) string {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "unknown file system"
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "unknown file system"
	}
	best, kind := "", "unknown file system"
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < len(best) {
			continue
		}
		if path == f[1] || strings.HasPrefix(path, strings.TrimSuffix(f[1], "/")+"/") {
			best, kind = f[1], f[2]
		}
	}
	return kind
}
