// Package hosts makes several machines of one, for tests. Each has network, host name, /var/lib and
// /run of its own, and all are plugged into one switch. They are namespaces of Linux
// (namespaces(7)) that a sleeping process keeps alive, so nothing is left when that has ended.
// Whoever is not root becomes it inside a user namespace, where the system allows that. So its
// tests are among those of make test-system.
package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Network is a switch with its hosts.
type Network struct {
	dir   string
	names string // /etc/hosts of all
	hub   *Host
	hosts []*Host
}

// Host is one machine.
type Host struct {
	Name, Addr string

	dir   string
	sleep *exec.Cmd
}

// New makes a switch. dir gets the hosts' files.
func New(ctx context.Context, dir string) (*Network, error) {
	n := &Network{dir: dir, names: filepath.Join(dir, "hosts")}
	if err := os.WriteFile(n.names, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		return nil, err
	}
	var err error
	if n.hub, err = n.start(ctx, "switch"); err != nil {
		return nil, err
	}
	if err := n.hub.run(ctx, "ip link add br0 type bridge && ip link set br0 up"); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Name makes all hosts know a name.
func (n *Network) Name(addr, name string) error {
	f, err := os.OpenFile(n.names, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", addr, name)
	return errors.Join(err, f.Close())
}

// Add plugs in a host with an address such as 10.77.0.11, in a network of 24 bits.
func (n *Network) Add(ctx context.Context, name, addr string) (*Host, error) {
	h, err := n.start(ctx, name)
	if err != nil {
		return nil, err
	}
	h.Addr = addr
	port := "p" + strconv.Itoa(len(n.hosts))
	n.hosts = append(n.hosts, h)
	err = n.hub.run(ctx, fmt.Sprintf("ip link add %s type veth peer name eth0 netns %d && ip link set %s master br0 && ip link set %s up",
		port, h.sleep.Process.Pid, port, port))
	if err == nil {
		err = h.run(ctx, fmt.Sprintf("ip addr add %s/24 dev eth0 && ip link set eth0 up", addr))
	}
	return h, err
}

// setUp runs on a host before it sleeps: $1 is its folder, $2 the /etc/hosts of all.
const setUp = `set -e
mount --make-rprivate /
mkdir -p "$1/var" "$1/run" "$1/home"
mount --bind "$1/var" /var/lib
mount --bind "$1/run" /run
mount --bind "$2" /etc/hosts
mount -t sysfs sysfs /sys
hostname "$3"
ip link set lo up
touch "$1/up"
exec sleep infinity`

// unshare begins the command that makes a host. All of them have the user namespace
// of the switch, where root there need not be root here.
func (n *Network) unshare() []string {
	switch {
	case os.Geteuid() == 0:
		return []string{"unshare"}
	case n.hub == nil:
		return []string{"unshare", "--user", "--map-root-user"}
	}
	return []string{"nsenter", "--target", strconv.Itoa(n.hub.sleep.Process.Pid), "--user", "--preserve-credentials", "--", "unshare"}
}

// startTime bounds how long a host takes to start.
const startTime = 20 * time.Second

func (n *Network) start(ctx context.Context, name string) (*Host, error) {
	h := &Host{Name: name, dir: filepath.Join(n.dir, name)}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	line := append(n.unshare(), "--net", "--mount", "--uts", "sh", "-c", setUp, "sh", h.dir, n.names, name)
	h.sleep = exec.Command(line[0], line[1:]...)
	h.sleep.Stdout, h.sleep.Stderr = &said, &said
	h.sleep.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := h.sleep.Start(); err != nil {
		return nil, fmt.Errorf("start host %s: %w", name, err)
	}
	for end := time.Now().Add(startTime); ; {
		if _, err := os.Stat(filepath.Join(h.dir, "up")); err == nil {
			return h, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			h.stop()
			return nil, fmt.Errorf("start host %s: it does not come up: %s", name, said.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (h *Host) stop() {
	_ = h.sleep.Process.Kill() // it may have ended
	_ = h.sleep.Wait()
}

// Close ends all hosts. What runs on them must have ended before.
func (n *Network) Close() {
	for _, h := range append(n.hosts, n.hub) {
		h.stop()
	}
}

// Enter is the command line that runs a program on the host.
func (h *Host) Enter(program string, args ...string) []string {
	line := []string{"nsenter", "--target", strconv.Itoa(h.sleep.Process.Pid), "--net", "--mount", "--uts"}
	if os.Geteuid() != 0 {
		line = append(line, "--user", "--preserve-credentials")
	}
	return append(append(line, "--", program), args...)
}

// Home is the folder that programs on the host have for their own.
func (h *Host) Home() string { return filepath.Join(h.dir, "home") }

// Shell prepares lines for the host's shell, as a person would paste them. The
// folders of path come first in its PATH.
func (h *Host) Shell(ctx context.Context, path []string, lines string) *exec.Cmd {
	line := h.Enter("sh", "-e", "-c", "cd \"$HOME\"\n"+lines)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "RAID") && !strings.HasPrefix(e, "XDG_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+h.Home(), "PATH="+strings.Join(append(path, os.Getenv("PATH")), ":"))
	return cmd
}

func (h *Host) run(ctx context.Context, lines string) error {
	if out, err := h.Shell(ctx, nil, lines).CombinedOutput(); err != nil {
		return fmt.Errorf("on host %s: %s: %w: %s", h.Name, lines, err, out)
	}
	return nil
}
