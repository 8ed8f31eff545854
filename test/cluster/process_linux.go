package cluster

import "syscall"

// ownProcess puts a child into a process group of its own, so that Ctrl-C in a terminal reaches the
// parent alone. It also ends the child when the parent dies.
func ownProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
