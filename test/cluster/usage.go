package cluster

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/pid/stat: sysconf(_SC_CLK_TCK),
// 100 per second on every Linux that Go runs on.
const clockTick = time.Second / 100

// ErrNotRunning is returned where a figure of a process that is not there was asked for.
var ErrNotRunning = errors.New("the process is not running")

// Usage says what a process takes from the machine.
type Usage struct {
	CPU      time.Duration // user and system time since its start
	RSS      int64         // resident memory, bytes
	PeakRSS  int64         // its highest since the start or ResetPeak, bytes
	Written  int64         // bytes that it caused to be written to disks
	Threads  int
	OpenFDs  int
	Syscalls int64 // write system calls
}

// Usage reads the process's figures from /proc.
func (d *Daemon) Usage() (u Usage, err error) {
	pid := d.Pid()
	if pid == 0 {
		return u, fmt.Errorf("read usage of %s: %w", d.name, ErrNotRunning)
	}
	if u.CPU, err = cpuTime(pid); err != nil {
		return u, fmt.Errorf("read usage of %s: %w", d.name, err)
	}
	status, err := procFields(pid, "status")
	if err != nil {
		return u, fmt.Errorf("read usage of %s: %w", d.name, err)
	}
	u.RSS, u.PeakRSS = status["VmRSS"]<<10, status["VmHWM"]<<10
	u.Threads = int(status["Threads"])
	if io, err := procFields(pid, "io"); err == nil { // readable by the same user only
		u.Written, u.Syscalls = io["write_bytes"], io["syscw"]
	}
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
		u.OpenFDs = len(fds)
	}
	return u, nil
}

// ResetPeak makes PeakRSS count anew (proc(5): 5 written to clear_refs).
func (d *Daemon) ResetPeak() error {
	pid := d.Pid()
	if pid == 0 {
		return fmt.Errorf("reset peak memory of %s: %w", d.name, ErrNotRunning)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset peak memory of %s: %w", d.name, err)
	}
	return nil
}

// cpuTime is fields 14 and 15 of /proc/pid/stat. The second field is the
// program's name in parentheses and may itself hold spaces.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	line := string(b)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields after the name, want 13 or more", pid, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// procFields reads the "name: number unit" lines of a file under /proc/pid.
func procFields(pid int, file string) (map[string]int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		if n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64); err == nil {
			fields[name] = n
		}
	}
	return fields, nil
}
