package controller

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/reason"
)

// inWords adds to why the state directory can't be used what can be done; what is
// wrong with a catalog, package catalog tells.
func inWords(dir string, err error) error {
	switch {
	case catalog.Advised(err), errors.Is(err, catalog.ErrRefused):
		return err
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: the disk of %s is read-only; Linux does that after disk errors: see journalctl -k, check it with fsck, and mount it anew", err, dir)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: the user that raid-controller runs as may not use it: sudo chown -R raid-controller: %s", err, dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, raid.ErrNoSpace), noRoom(dir):
		return fmt.Errorf("%w: the disk of %s is full: see df -h, and free a few MiB", err, dir)
	}
	return err
}

// noRoom tells whether a disk is full: SQLite, which needs an index for its log, calls
// that an I/O error.
func noRoom(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && int64(st.Bavail)*int64(st.Bsize) < minRoom
}

// minRoom is with how little free space SQLite may not get on, in bytes.
const minRoom = 256 << 10

// bareListen takes off what net says again: the address, and the system call.
func bareListen(err error) error {
	var sys *os.SyscallError
	var dns *net.DNSError
	switch {
	case errors.As(err, &sys):
		return sys.Err
	case errors.As(err, &dns):
		return reason.Worded("no machine of that name was found", err)
	}
	return err
}

// listenAdvice tells what to do about an address that can't be had.
func listenAdvice(err error, address string) string {
	_, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("; is another raid-controller running? Who has the port shows: sudo ss -ltnp 'sport = :%s'", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; this machine does not have that address, or not yet. It is tried again; \":" + port + "\" is for all addresses"
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 are not for raid-controller's user"
	}
	return ""
}
