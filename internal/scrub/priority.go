package scrub

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Values of ioprio_set(2), from linux/ioprio.h.
const (
	ioprioWhoProcess = 1
	ioprioClassIdle  = 3 << 13
)

// ownThread gives the calling goroutine a thread of its own at idle I/O priority, which
// ends with the goroutine. Where the kernel or a sandbox refuses that, [pace] alone has
// to do.
func ownThread() {
	runtime.LockOSThread()                                                            // and never back: nobody else may get this thread
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioClassIdle) // see above
}
