//go:build unix && !linux

package cluster

import "syscall"

// ownProcess puts a child into a process group of its own, so that Ctrl-C in a
// terminal reaches the parent alone.
func ownProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
