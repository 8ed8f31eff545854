package nspawn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Gateway is the address of the lab itself on its switch: a test's own servers listen
// there.
const Gateway = "10.99.0.254"

const (
	bridge = "br0"
	// labPrefix begins the names of all that a lab makes outside of its folder.
	labPrefix = "raidpi-lab-"
)

// Lab is a switch with its hosts.
type Lab struct {
	id     string
	dir    string
	unlock func()

	mu    sync.Mutex
	hosts []*Host
	bases map[string]base // by the release
}

// base holds what the hosts of one release have in common.
type base struct {
	lower string // the root below all hosts' own
	disk  string // the image that their disks are copies of, with the root's /var/lib
}

// New makes a switch without hosts.
func New(ctx context.Context) (*Lab, error) {
	if err := prepare(); err != nil {
		return nil, err
	}
	cache := cacheDir()
	labs := filepath.Join(cache, "labs")
	if err := os.MkdirAll(labs, 0o755); err != nil {
		return nil, fmt.Errorf("make hosts: %w", err)
	}
	l := &Lab{id: labPrefix + newID()[:6], bases: map[string]base{}}
	l.dir = filepath.Join(labs, l.id)
	if err := l.begin(ctx, labs); err != nil {
		return nil, fmt.Errorf("make hosts: %w", err)
	}
	if err := l.build(ctx); err != nil {
		return nil, fmt.Errorf("make hosts: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

// begin takes the lab's lock, after a look at what others have left behind. One at a
// time does this, so that nobody takes a lab for left behind whose lock is being made.
func (l *Lab) begin(ctx context.Context, labs string) error {
	unlock, err := lock(filepath.Join(labs, "sweep.lock"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := sweep(ctx, labs); err != nil {
		return err
	}
	l.unlock, err = lock(l.dir+".lock", unix.LOCK_EX|unix.LOCK_NB)
	return err
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func (l *Lab) build(ctx context.Context) error {
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		return err
	}
	// Each nspawn has copies of all mounts of the machine, out of sight. A file system that is
	// mounted in a shared folder is unmounted there too. Without it, the disk of a host would stay
	// in use for as long as any other host runs.
	if err := unix.Mount(l.dir, l.dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount its folder: %w", err)
	}
	if err := unix.Mount("", l.dir, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share its folder: %w", err)
	}
	if err := run(ctx, "ip", "netns", "add", l.id); err != nil {
		return err
	}
	for _, line := range []string{
		"link set lo up", "link add " + bridge + " type bridge", "addr add " + Gateway + "/24 dev " + bridge, "link set " + bridge + " up",
	} {
		if err := run(ctx, "ip", append([]string{"-n", l.id}, strings.Fields(line)...)...); err != nil {
			return err
		}
	}
	return l.nft(ctx, filterTable)
}

// base is that of a release, which is made when the lab, or even the cache, has none yet.
func (l *Lab) base(ctx context.Context, release string) (base, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, made := l.bases[release]; made {
		return b, nil
	}
	lower, err := root(ctx, cacheDir(), release)
	if err != nil {
		return base{}, err
	}
	b := base{lower: lower, disk: filepath.Join(l.dir, "var-lib-"+release+".img")}
	if err := run(ctx, "mkfs.ext4", "-q", "-m", "0", "-J", "size=16", "-d", filepath.Join(lower, "var", "lib"), b.disk, diskSize); err != nil {
		return base{}, err
	}
	l.bases[release] = b
	return b, nil
}

func (l *Lab) netns() string { return filepath.Join("/run/netns", l.id) }

// Close ends all hosts at once and removes everything that the lab made.
func (l *Lab) Close() error {
	l.mu.Lock()
	hosts := l.hosts
	l.hosts = nil
	l.mu.Unlock()
	for _, h := range hosts {
		h.forget()
	}
	err := remove(context.Background(), l.dir)
	l.unlock()
	return err
}

// sweep removes the labs whose process has ended without doing so. One that can't be
// removed is in nobody's way.
func sweep(ctx context.Context, labs string) error {
	locks, err := filepath.Glob(filepath.Join(labs, labPrefix+"*.lock"))
	if err != nil {
		return err
	}
	for _, path := range locks {
		unlock, err := lock(path, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue // in use
		} else if err != nil {
			return err
		}
		if err := remove(ctx, strings.TrimSuffix(path, ".lock")); err != nil {
			fmt.Fprintln(os.Stderr, "An earlier run has left something behind:", err)
		}
		unlock()
	}
	return nil
}

// remove ends and removes what carries the id of a lab, which is its folder's name.
func remove(ctx context.Context, dir string) error {
	id := filepath.Base(dir)
	err := removeGroups(id)
	if _, missing := os.Stat(filepath.Join("/run/netns", id)); missing == nil {
		err = errors.Join(err, run(ctx, "ip", "netns", "del", id))
	}
	// They are taken while their names can still be told. Once the lab's folder is unmounted, the
	// kernel knows the images by less than their whole path. Those that are in use are
	// taken down when they no longer are.
	err = errors.Join(err, detachLoops(ctx, dir))
	mounted, failed := mountsBelow(dir)
	err = errors.Join(err, failed)
	for _, path := range mounted {
		if failed := unix.Unmount(path, 0); failed != nil {
			err = errors.Join(err, unix.Unmount(path, unix.MNT_DETACH))
		}
	}
	err = errors.Join(err, os.RemoveAll(dir))
	if err != nil {
		return fmt.Errorf("remove lab %s: %w", id, err)
	}
	// One who swept may have opened it before, and removed it.
	if err := os.Remove(dir + ".lock"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// mountsBelow lists what is mounted at and below a folder, the innermost first.
func mountsBelow(dir string) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at+"/", dir+"/") {
			found = append(found, at)
		}
	}
	slices.Reverse(found)
	return found, nil
}

// Inside calls f with the calling thread in the lab's network: sockets that f itself
// makes belong there for good. What f starts in other goroutines does not.
func (l *Lab) Inside(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	there, err := os.Open(l.netns())
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the lab's network: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave the lab's network: %w", back)) // the thread stays locked and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// Dial connects to an address in the lab, which must be IP:PORT: names are looked up
// by other threads.
func (l *Lab) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = l.Inside(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens on the lab's own address.
func (l *Lab) Listen(port string) (ln net.Listener, err error) {
	err = l.Inside(func() error {
		ln, err = net.Listen("tcp4", net.JoinHostPort(Gateway, port))
		return err
	})
	return ln, err
}
