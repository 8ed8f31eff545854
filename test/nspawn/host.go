package nspawn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HostConfig describes a host.
type HostConfig struct {
	Name string // at most 12 bytes: the switch's port is called after it
	// Release of Debian; "" is Bookworm.
	Release string
	Addr    string // such as 10.99.0.11; "" is a host whose network has no address
	// Files are put on the host before it starts, by their path; those in /var/lib go
	// to its disk.
	Files map[string]string
	// Append is added to files that the root has.
	Append map[string]string
	// Memory of the whole host in bytes; 0 is 512 MiB.
	Memory int64
	// Devices are block devices of the machine that the host sees under the same name.
	Devices []string
}

// Host is one machine.
type Host struct {
	Name, Addr string

	lab     *Lab
	dir     string
	devices []string
	memory  int64
	loop    string // /dev/loopN, its disk

	mu      sync.Mutex
	nspawn  *exec.Cmd
	leader  int           // its PID 1, by the machine's number
	ended   chan struct{} // closed when nspawn has ended
	console *bytes.Buffer
}

// defaultMemory is that of a small Pi.
const defaultMemory = 512 << 20

// Add makes a host, switched off.
func (l *Lab) Add(ctx context.Context, cfg HostConfig) (*Host, error) {
	h := &Host{Name: cfg.Name, Addr: cfg.Addr, lab: l, dir: filepath.Join(l.dir, cfg.Name), devices: cfg.Devices, memory: cfg.Memory}
	if h.memory == 0 {
		h.memory = defaultMemory
	}
	if err := h.build(ctx, cfg); err != nil {
		return nil, fmt.Errorf("make host %s: %w", cfg.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts = append(l.hosts, h)
	return h, nil
}

func (h *Host) build(ctx context.Context, cfg HostConfig) error {
	for _, sub := range []string{"upper", "work", "root", "disk"} {
		if err := os.MkdirAll(filepath.Join(h.dir, sub), 0o755); err != nil {
			return err
		}
	}
	b, err := h.lab.base(ctx, cmp.Or(cfg.Release, Bookworm))
	if err != nil {
		return err
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", b.lower, h.dir, h.dir)
	if err := unix.Mount("overlay", h.Root(), "overlay", 0, layers); err != nil {
		return fmt.Errorf("mount its root: %w", err)
	}
	if err := h.plugDisk(ctx, b.disk); err != nil {
		return err
	}
	files := map[string]string{"/etc/machine-id": newID() + "\n", "/etc/hostname": cfg.Name + "\n", "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 " + cfg.Name + "\n"}
	if cfg.Addr != "" {
		files["/etc/systemd/network/10-host0.network"] = "[Match]\nName=host0\n[Network]\nLinkLocalAddressing=no\nAddress=" + cfg.Addr + "/24\n"
	}
	for path, text := range cfg.Files {
		files[path] = text
	}
	for path, text := range files {
		if err := h.WriteFile(path, text); err != nil {
			return err
		}
	}
	for path, text := range cfg.Append {
		before, err := os.ReadFile(h.Path(path))
		if err != nil {
			return err
		}
		if err := h.WriteFile(path, string(before)+text); err != nil {
			return err
		}
	}
	return nil
}

// Root is the host's root as the machine sees it.
func (h *Host) Root() string { return filepath.Join(h.dir, "root") }

// Path is a file of the host as the machine sees it. What the host mounts at run time,
// such as /run, is not there.
func (h *Host) Path(path string) string {
	if rest, ok := strings.CutPrefix(path, "/var/lib/"); ok {
		return filepath.Join(h.dir, "disk", rest)
	}
	return filepath.Join(h.Root(), path)
}

// WriteFile makes or replaces a file of the host. It is executable when it is a script.
func (h *Host) WriteFile(path, text string) error {
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(h.Path(path)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(h.Path(path), []byte(text), mode)
}

// group is the name of its control groups.
func (h *Host) group() string { return h.lab.id + "-" + h.Name }

// startTime bounds the time of a host until its systemd answers. stopTime bounds the time until
// it has ended what it was asked to end.
const (
	startTime = 60 * time.Second
	bootTime  = 2 * time.Minute
	stopTime  = 90 * time.Second
)

// enter joins the control groups and becomes nspawn.
const enter = `for g in $1; do echo $$ >"$g/cgroup.procs"; done; shift; exec "$@"`

// PowerOn starts the host, and returns when its systemd answers.
func (h *Host) PowerOn(ctx context.Context) error {
	groups, err := makeGroups(h.group())
	if err != nil {
		return err
	}
	limit := filepath.Join(cgroups, "memory", h.group(), "memory.limit_in_bytes")
	if err := os.WriteFile(limit, []byte(strconv.FormatInt(h.memory, 10)), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start host %s: %w", h.Name, err)
	}
	args := []string{"-c", enter, "sh", strings.Join(groups, " "), "nsenter", "--net=" + h.lab.netns(),
		"systemd-nspawn", "--quiet", "--boot", "--directory=" + h.Root(), "--machine=" + h.Name, "--hostname=" + h.hostname(),
		"--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
		"--network-bridge=" + bridge, "--bind=" + filepath.Join(h.dir, "disk") + ":/var/lib"}
	for _, dev := range h.devices {
		args = append(args, "--bind="+dev)
	}
	h.console = new(bytes.Buffer)
	cmd := exec.Command("sh", args...)
	cmd.Stdout, cmd.Stderr = h.console, h.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start host %s: %w", h.Name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how nspawn ends says nothing
		close(ended)
	}()
	h.mu.Lock()
	h.nspawn, h.ended, h.leader = cmd, ended, 0
	h.mu.Unlock()
	return h.awaitLeader(ctx)
}

// hostname returns the last name of the host: hostnamectl may have changed it.
func (h *Host) hostname() string {
	text, err := os.ReadFile(h.Path("/etc/hostname"))
	if err != nil {
		return h.Name
	}
	return strings.TrimSpace(string(text))
}

func (h *Host) awaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if h.Leader() == 0 {
			h.mu.Lock()
			h.leader = findLeader(h.nspawn.Process.Pid)
			h.mu.Unlock()
		} else if _, err := h.Run(ctx, Command{Lines: "test -S /run/systemd/private"}); err == nil {
			return nil
		}
		select {
		case <-h.ended:
			return fmt.Errorf("start host %s: it has ended: %s", h.Name, h.console)
		case <-ctx.Done():
			return fmt.Errorf("start host %s: it does not come up: %w", h.Name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// findLeader looks among nspawn's children for the one that is PID 1 of its own and
// has become systemd.
func findLeader(nspawn int) int {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	for _, word := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(word)
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			if ids, ok := strings.CutPrefix(line, "NSpid:"); ok && strings.HasSuffix(strings.TrimSpace(ids), "\t1") && string(comm) == "systemd\n" {
				return pid
			}
		}
	}
	return 0
}

// Leader is the host's PID 1 by the machine's number, 0 when it is off.
func (h *Host) Leader() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leader
}

// Boot starts the host and waits until it has started what it starts.
func (h *Host) Boot(ctx context.Context) error {
	if err := h.PowerOn(ctx); err != nil {
		return err
	}
	return h.AwaitBoot(ctx)
}

// AwaitBoot waits until the host has started what it starts, failed units or not.
func (h *Host) AwaitBoot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	for {
		r, _ := h.Run(ctx, Command{Lines: "systemctl is-system-running --wait"})
		switch state := strings.TrimSpace(r.Out); state {
		case "running", "degraded":
			return nil
		}
		select {
		case <-h.ended:
			return fmt.Errorf("start host %s: it has ended: %s", h.Name, h.console)
		case <-ctx.Done():
			jobs, _ := h.Run(context.WithoutCancel(ctx), Command{Lines: "systemctl list-jobs"})
			return fmt.Errorf("start host %s: %q and %q after %v; it waits for: %s", h.Name, r.Out, r.Err, bootTime, jobs.Out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Shutdown switches the host off as `poweroff` does.
func (h *Host) Shutdown(ctx context.Context) error {
	if _, err := h.Run(ctx, Command{Lines: "systemctl --no-block poweroff"}); err != nil {
		return err
	}
	return h.AwaitOff(ctx)
}

// AwaitOff waits until a host is off that was told to shut down.
func (h *Host) AwaitOff(ctx context.Context) error {
	select {
	case <-h.ended:
		return h.off()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stopTime):
		return fmt.Errorf("shut host %s down: it has not ended after %v", h.Name, stopTime)
	}
}

// Plug pulls the host's plug: its cable goes dead, and all its processes end where they
// are. Its disk keeps what the kernel would still have written: see LosePower.
func (h *Host) Plug(ctx context.Context) error {
	if h.Leader() == 0 {
		return nil
	}
	// First, so that the others hear no goodbye from the dying host's kernel.
	if err := run(ctx, "ip", "-n", h.lab.id, "link", "set", h.port(), "down"); err != nil {
		return err
	}
	_ = syscall.Kill(h.Leader(), syscall.SIGKILL) // with which all others of its end
	h.Thaw()
	select {
	case <-h.ended:
		return h.off()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(killTime):
		return fmt.Errorf("pull the plug of host %s: it still runs after %v", h.Name, killTime)
	}
}

// off tidies up after a host that has ended.
func (h *Host) off() error {
	h.mu.Lock()
	h.leader = 0
	h.mu.Unlock()
	return removeGroups(h.group())
}

// forget kills nspawn, for Close.
func (h *Host) forget() {
	h.mu.Lock()
	cmd, ended := h.nspawn, h.ended
	h.leader = 0
	h.mu.Unlock()
	if cmd == nil {
		return
	}
	h.Thaw()
	_ = cmd.Process.Kill()
	<-ended
}
