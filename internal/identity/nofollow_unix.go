//go:build unix

package identity

import "syscall"

// noFollow makes open fail for a symbolic link.
const noFollow = syscall.O_NOFOLLOW
