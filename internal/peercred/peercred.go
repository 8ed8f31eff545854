// Package peercred finds out which user's process is at the other end of a connection on this
// machine. The kernel says so of Unix sockets (SO_PEERCRED). It also says so of TCP between
// loopback addresses (sock_diag, or /proc/net/tcp where the kernel lacks that).
//
// # Caveats
//
// The answer names the maker of the socket; a process may hand it to another. In a user namespace
// without a mapping for it a user is 65534, nobody. So a daemon that asks must not run with
// PrivateUsers=yes. A TCP socket whose process has closed it belongs to nobody any more. The kernel
// says 0 for it, and it is an error here.
package peercred

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// errGone is said of a TCP connection whose other end has no process any more.
var errGone = errors.New("its program has closed the connection")

// errNoDiag says that the kernel can't be asked for sockets.
var errNoDiag = errors.New("the kernel has no sock_diag")

// Of returns the id of the user whose process made the other end of a connection. The connection is
// over a Unix socket or between loopback addresses of this machine. It takes some microseconds and
// waits for nobody.
func Of(c net.Conn) (uid uint32, err error) {
	if u, ok := c.(*net.UnixConn); ok {
		return ofUnix(u)
	}
	local, remote, err := ends(c)
	if err != nil {
		return 0, err
	}
	if uid, err = find(local, remote, ofTCP, inTables); err == nil {
		err = stillOpen(c)
	}
	return uid, err
}

// lookup finds the user whose process has a socket with these addresses.
type lookup func(local, remote netip.AddrPort) (uint32, error)

// find asks for the other end of a connection. A kernel that can't load its module for sock_diag,
// such as after an update that is not booted yet, denies each socket. So it is asked for this end
// too, and when that is not found either, the tables are asked.
func find(local, remote netip.AddrPort, diag, tables lookup) (uint32, error) {
	uid, err := diag(remote, local)
	if errors.Is(err, errGone) {
		if _, own := diag(local, remote); errors.Is(own, errGone) {
			err = errNoDiag
		}
	}
	if errors.Is(err, errNoDiag) {
		return tables(remote, local)
	}
	return uid, err
}

// stillOpen returns errGone for a connection that the other end has reset. It does so too when the
// other end is so long gone that the system has forgotten it. Its bytes can still be read, while
// its port may be another program's, whose socket was then the one found. So this is asked after
// the other end was. As long as a connection stands, nobody else can have one between the same
// ports.
func stillOpen(c net.Conn) error {
	var info *unix.TCPInfo
	s, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has no socket of its own", c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return fmt.Errorf("ask how the connection is: %w", failed)
	case !held(info.State):
		return errGone
	}
	return nil
}

func ofUnix(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, fmt.Errorf("ask for the credentials of the socket's other end: %w", failed)
	}
	return cred.Uid, nil
}

// ends returns the addresses of a TCP connection, which must be loopback ones. With any other, the
// other end may be on another machine, or in another network namespace.
func ends(c net.Conn) (local, remote netip.AddrPort, err error) {
	for _, end := range []struct {
		to   *netip.AddrPort
		from net.Addr
	}{{&local, c.LocalAddr()}, {&remote, c.RemoteAddr()}} {
		tcp, ok := end.from.(*net.TCPAddr)
		if !ok {
			return local, remote, fmt.Errorf("%v is no address of TCP", end.from)
		}
		ap := tcp.AddrPort()
		*end.to = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
		if !end.to.Addr().IsLoopback() {
			return local, remote, fmt.Errorf("%v is no loopback address", ap)
		}
	}
	if local.Addr().Is4() != remote.Addr().Is4() {
		return local, remote, fmt.Errorf("%v and %v are of two families", local, remote)
	}
	return local, remote, nil
}

// held reports whether a process has, or may have, a TCP socket in this state, and its connection
// stands. In other states the connection is over or not made yet, or the socket listens.
func held(state uint8) bool {
	switch state {
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2, unix.BPF_TCP_CLOSE_WAIT, unix.BPF_TCP_CLOSING, unix.BPF_TCP_LAST_ACK:
		return true
	}
	return false
}

// ofTCP asks the kernel (sock_diag(7)) for the socket with these addresses, as its
// process sees them.
func ofTCP(local, remote netip.AddrPort) (uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return 0, fmt.Errorf("limit the wait for sock_diag: %w", err)
	}
	if err := unix.Sendto(fd, diagRequest(local, remote), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	var answer [1024]byte
	for {
		n, from, err := unix.Recvfrom(fd, answer[:], 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errNoDiag, err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // not the kernel's
		}
		return parseDiag(answer[:n], local, remote)
	}
}
