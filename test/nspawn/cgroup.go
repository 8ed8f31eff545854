package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies are those of cgroup v1 (and the one of v2 beside them) that a host gets
// a group of its own in. Without it all hosts would share one /payload, and the same
// unit of two hosts one group.
var hierarchies = []string{"systemd", "unified", "memory", "cpu", "cpuacct", "pids", "freezer"}

// makeGroups makes a host's control groups and returns their folders.
func makeGroups(name string) ([]string, error) {
	var made []string
	for _, h := range hierarchies {
		if _, err := os.Stat(filepath.Join(cgroups, h, "cgroup.procs")); err != nil {
			if h == "freezer" || h == "systemd" {
				return nil, fmt.Errorf("make control groups: %s/%s is not there: these tests freeze hosts by cgroup v1, which Debian mounts when its kernel is booted with systemd.unified_cgroup_hierarchy=0", cgroups, h)
			}
			continue
		}
		dir := filepath.Join(cgroups, h, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make control groups: %w", err)
		}
		made = append(made, dir)
	}
	return made, nil
}

// killTime bounds how long processes may take to end by SIGKILL; those that wait for
// a disk take longest.
const killTime = 20 * time.Second

// removeGroups kills what is in the control groups whose names begin with id, and
// removes them.
func removeGroups(id string) error {
	if err := killGroups(id); err != nil {
		return err
	}
	tops, err := filepath.Glob(filepath.Join(cgroups, "*", id+"*"))
	if err != nil {
		return err
	}
	for _, top := range tops {
		var dirs []string
		err = errors.Join(err, filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append([]string{path}, dirs...)
			}
			return err
		}))
		for _, dir := range dirs {
			err = errors.Join(err, removeGroup(dir))
		}
	}
	return err
}

// removeGroup removes an empty group. The kernel may need a moment to see that its
// last process is gone.
func removeGroup(dir string) error {
	end := time.Now().Add(killTime)
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// killGroups kills all processes of groups whose names begin with id.
func killGroups(id string) error {
	for end := time.Now().Add(killTime); ; time.Sleep(10 * time.Millisecond) {
		frozen, _ := filepath.Glob(filepath.Join(cgroups, "freezer", id+"*"))
		for _, dir := range frozen {
			thawAll(dir)
		}
		tops, err := filepath.Glob(filepath.Join(cgroups, "systemd", id+"*"))
		if err != nil {
			return err
		}
		var pids []int
		for _, top := range tops {
			pids = append(pids, below(top)...)
		}
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("end the processes of %s: %v do not end by SIGKILL", id, pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// below lists the processes of a group and of all groups in it.
func below(top string) []int {
	var pids []int
	_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			pids = append(pids, processes(path)...)
		}
		return nil // a group that has just gone has no processes
	})
	return pids
}

func processes(group string) []int {
	text, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

func thawAll(top string) {
	_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0) // gone is as good
		}
		return nil
	})
}

// freeze stops all processes of a group of the freezer, and returns when they stand.
func freeze(ctx context.Context, group string) error {
	state := filepath.Join(group, "freezer.state")
	if err := os.WriteFile(state, []byte("FROZEN"), 0); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	for {
		text, err := os.ReadFile(state)
		if err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		if strings.TrimSpace(string(text)) == "FROZEN" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("freeze: still %s: %w", strings.TrimSpace(string(text)), ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func (h *Host) freezer() string { return filepath.Join(cgroups, "freezer", h.group()) }

// Freeze makes the host hang: none of its processes runs, while its kernel still
// answers on the network.
func (h *Host) Freeze(ctx context.Context) error { return freeze(ctx, h.freezer()) }

// Thaw lets a frozen host go on.
func (h *Host) Thaw() { thawAll(h.freezer()) }

// UnitProcesses are the processes of a service by the machine's own numbers.
func (h *Host) UnitProcesses(unit string) []int {
	found, _ := filepath.Glob(filepath.Join(cgroups, "systemd", h.group(), "payload", "system.slice", unit))
	var pids []int
	for _, dir := range found {
		pids = append(pids, below(dir)...)
	}
	return pids
}
