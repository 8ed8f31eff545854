package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const (
	socketMode    = 0o600
	socketDirMode = 0o755
)

// ListenLocal listens on a Unix socket for programs of root and of this process's own user. It is
// closed to all others, whatever the permissions of its folder say. The folder is made if it is
// missing, its parent is not. A socket that nobody listens on any more is replaced; one in use is
// an error.
func ListenLocal(path string) (net.Listener, error) {
	if err := os.Mkdir(filepath.Dir(path), socketDirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the folder of the control socket: %w", err)
	}
	if err := removeDeadSocket(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		ln.Close()
		return nil, fmt.Errorf("protect the control socket: %w", err)
	}
	return &localListener{ln.(*net.UnixListener)}, nil
}

// removeDeadSocket takes away what a process that was killed has left.
func removeDeadSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listen on the control socket: %s is there and is no socket; move it away", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen on the control socket: another process listens on %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	return os.Remove(path)
}

// localListener hands out connections of root and of its own user.
type localListener struct{ *net.UnixListener }

// Accept implements net.Listener.
func (l *localListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if trusted(c) {
			return c, nil
		}
		c.Close()
	}
}

// trusted asks the kernel who connected (SO_PEERCRED, unix(7)).
func trusted(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		ok = err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
	})
	return err == nil && ok
}
