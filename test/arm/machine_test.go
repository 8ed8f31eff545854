//go:build armboot

package arm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// bootLimit bounds the time until a machine answers: an emulated one on a busy computer takes
// minutes where a Pi takes seconds.
const bootLimit = 6 * time.Minute

// model is a machine that qemu-system emulates.
type model struct {
	arch string
	qemu []string
}

var models = map[string]model{
	"arm64": {"arm64", []string{"qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"}},        // a Pi 4
	"armhf": {"armhf", []string{"qemu-system-arm", "-M", "virt,highmem=off", "-cpu", "cortex-a7"}}, // a Pi 2
}

// What a machine of the tests has beside the packages. It has no udev, so its network
// is set up by hand and nobody waits for its terminals. Its journal is lost with
// its power, as on Raspberry Pi OS. On port 9999 it runs what it is told.
var furnishing = map[string]string{
	"etc/hostname":   "raidpi\n",
	"etc/hosts":      "127.0.0.1 localhost\n127.0.1.1 raidpi\n",
	"etc/machine-id": "4e6f6f6e6520656c736520686173206f\n",
	"etc/systemd/journald.conf.d/40-rpi-volatile-storage.conf": "[Journal]\nStorage=volatile\n",
	"etc/systemd/system/test-network.service": `[Unit]
DefaultDependencies=no
Wants=network.target
Before=network.target network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2'
`,
	// systemd lifts the clock of such a machine to the day of its own build.
	"etc/systemd/system/test-clock.service": `[Unit]
DefaultDependencies=no
ConditionKernelCommandLine=raidpi.clock
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/date -s @100
`,
	"etc/systemd/system/test-shell.socket":   "[Socket]\nListenStream=9999\nAccept=yes\n",
	"etc/systemd/system/test-shell@.service": "[Service]\nExecStart=/bin/sh\nStandardInput=socket\nStandardOutput=socket\nStandardError=socket\n",
	"etc/raid-controller/conf.d/test.toml":   "reserve = \"0\"\n",
	"etc/raid-node/conf.d/test.toml":         "reserve = \"0\"\n",
}

// enabled and masked are units of that system, masked for what nobody asked for here.
var (
	enabled = map[string]string{"sockets.target": "test-shell.socket", "multi-user.target": "test-network.service", "sysinit.target": "test-clock.service"}
	masked  = []string{
		"serial-getty@ttyAMA0.service", "getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer",
		"dpkg-db-backup.timer", "systemd-tmpfiles-clean.timer", "systemd-random-seed.service",
	}
)

// images are the disks of this run's models, with the packages installed.
var images = map[string]string{}

// image makes a disk of a Debian root with the packages installed.
func (m model) image(t *testing.T, below string) string {
	t.Helper()
	if made, ok := images[m.arch]; ok {
		return made
	}
	r, _ := install(t, below, m.arch)
	for path, text := range furnishing {
		r.write(path, text)
	}
	const units = "/etc/systemd/system/"
	for target, unit := range enabled {
		r.must(fmt.Sprintf("mkdir -p %s%s.wants; ln -s ../%s %s%s.wants/", units, target, unit, units, target))
	}
	for _, unit := range masked {
		r.must("ln -sf /dev/null " + units + unit)
	}
	image := filepath.Join(dist, m.arch+".ext4")
	run(t, "mkfs.ext4", "-q", "-O", "^has_journal", "-d", r.dir, image, "900M")
	images[m.arch] = image
	return image
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// machine is an emulated computer that can lose its power. What it keeps over that
// is its second disk, with the state of the daemons.
type machine struct {
	t       *testing.T
	args    []string // all but the kernel's command line
	console string   // file of what it prints
	shell   int      // port of this computer that leads to its shell
	ports   cluster.Ports

	qemu *cluster.Daemon // nil before the first power on
}

// newMachine puts a machine together, with its power off.
func newMachine(t *testing.T, m model, more ...string) *machine {
	t.Helper()
	made := prepare(t, "boot", m.arch)
	image, boot, dir := m.image(t, made[0]), made[1], temporary(t)
	free, err := cluster.Free(5)
	if err != nil {
		t.Fatal(err)
	}
	v := &machine{
		t: t, console: filepath.Join(dir, "console"), shell: free[0],
		ports: cluster.Ports{HTTP: free[1], Store: free[2], Response: free[3], Request: free[4]},
	}
	state := filepath.Join(dir, "state.ext4")
	run(t, "mkfs.ext4", "-q", state, "1G")
	net := "user,id=n,restrict=on"
	for i, port := range []int{9999, 9000, 5557, 5558, 5559} {
		net += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-10.0.2.15:%d", free[i], port)
	}
	v.args = append(v.args, m.qemu...)
	v.args = append(v.args, "-smp", "2", "-m", "512", "-accel", "tcg,thread=multi", "-nographic", "-no-reboot", "-monitor", "none", "-serial", "file:"+v.console,
		"-kernel", filepath.Join(boot, "vmlinuz"), "-initrd", filepath.Join(boot, "initrd.gz"),
		"-drive", "if=none,id=state,format=raw,cache=writeback,file="+state, "-device", "virtio-blk-device,drive=state,serial=state",
		"-drive", "if=none,id=root,format=raw,snapshot=on,file="+image, "-device", "virtio-blk-device,drive=root,serial=root",
		"-netdev", net, "-device", "virtio-net-device,netdev=n")
	v.args = append(v.args, more...)
	t.Cleanup(func() {
		v.pullThePlug()
		if t.Failed() {
			t.Logf("the end of the console:\n%s", tail(v.console, 40))
		}
	})
	return v
}

func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// powerOn starts the machine, with more words for the kernel, and returns when its
// shell answers and both daemons are ready.
func (v *machine) powerOn(words ...string) {
	v.t.Helper()
	line := "console=ttyAMA0 rw quiet random.trust_cpu=1 systemd.show_status=0 " + strings.Join(words, " ")
	v.qemu = cluster.NewDaemon(cluster.DaemonConfig{
		Name: "qemu", Path: v.args[0], Args: append(slices.Clone(v.args[1:]), "-append", line), Log: v.console + ".qemu",
	})
	start := time.Now()
	if err := v.qemu.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.until(bootLimit, "both daemons are ready", func() error {
		if v.qemu.Pid() == 0 {
			v.t.Fatalf("qemu ended: %s", v.qemu.LogText())
		}
		// Given two units it is content with one.
		_, err := v.try("systemctl is-active raid-controller; systemctl is-active raid-node")
		return err
	})
	v.t.Logf("both daemons are ready %v after power on", time.Since(start).Round(time.Second))
}

// pullThePlug ends the machine without a word to it: what it had not flushed is lost.
func (v *machine) pullThePlug() {
	if v.qemu == nil {
		return
	}
	if err := v.qemu.Kill(); err != nil {
		v.t.Error(err)
	}
}

// until looks now and then whether something has come about.
func (v *machine) until(limit time.Duration, what string, ok func() error) {
	v.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(500 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			units, _ := v.try("systemctl status --no-pager -l raid-controller raid-node; systemctl list-jobs")
			v.t.Fatalf("not within %v: %s: %v\n%s", limit, what, err, units)
		}
	}
}

var statusLine = regexp.MustCompile(`\nstatus ([0-9]+)\n$`)

// try runs lines as root on the machine and returns what they print.
func (v *machine) try(lines string) (string, error) {
	conn, err := net.DialTimeout("tcp", cluster.Loopback(v.shell), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "(set -e\n%s\n)\nstatus=$?\necho\necho status $status\nexit\n", lines); err != nil {
		return "", err
	}
	out, err := io.ReadAll(conn)
	found := statusLine.FindSubmatchIndex(out)
	if found == nil {
		return string(out), fmt.Errorf("the machine's shell did not answer: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	text := strings.TrimSuffix(string(out[:found[0]]), "\n")
	if status := string(out[found[2]:found[3]]); status != "0" {
		return text, fmt.Errorf("status %s: %s", status, text)
	}
	return text, nil
}

func (v *machine) must(lines string) string {
	v.t.Helper()
	out, err := v.try(lines)
	if err != nil {
		v.t.Fatalf("%s: %v", lines, err)
	}
	return strings.TrimSpace(out)
}

// number is one that lines print.
func (v *machine) number(lines string) int64 {
	v.t.Helper()
	out := v.must(lines)
	n, err := strconv.ParseInt(out, 10, 64)
	if err != nil {
		v.t.Fatalf("%s: %v", lines, err)
	}
	return n
}

// withToken sends an access token along.
type withToken struct {
	http.RoundTripper
	token string
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.token)
	return w.RoundTripper.RoundTrip(r)
}

// api is the machine's REST interface as other machines reach it. Whose the certificate
// is, is tested elsewhere; here it may be one of 1970.
func (v *machine) api() *cluster.API {
	v.t.Helper()
	token := regexp.MustCompile(`raidpi_[A-Za-z0-9_]+`).FindString(v.must("raidctl access create test --scope write --ttl never"))
	if token == "" {
		v.t.Fatal("raidctl access create prints no token")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8}
	v.t.Cleanup(transport.CloseIdleConnections)
	return &cluster.API{URL: "https://" + cluster.Loopback(v.ports.HTTP), HTTP: &http.Client{Transport: withToken{transport, token}}}
}

// second is a node on this computer, of its own architecture, that joins the
// machine's array from outside.
func (v *machine) second() *cluster.Daemon {
	v.t.Helper()
	dir := v.t.TempDir()
	bin := filepath.Join(dist, "native")
	if err := (cluster.Build{Dir: bin}).Run(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
	short, err := os.MkdirTemp("/tmp", "raidpi") // a socket's path must be short
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { os.RemoveAll(short) })
	if err := os.Mkdir(filepath.Join(dir, "node"), 0o700); err != nil {
		v.t.Fatal(err)
	}
	conf := filepath.Join(dir, "raid-node.toml")
	text := fmt.Sprintf("state_dir = %q\nchunk_dir = %q\ncontrol_socket = %q\nreserve = \"0\"\n\n[controller]\nhost = \"127.0.0.1\"\nhttp_port = %d\nstore_port = %d\nresponse_port = %d\nrequest_port = %d\n",
		filepath.Join(dir, "node"), filepath.Join(dir, "node", "chunks"), filepath.Join(short, "node.sock"), v.ports.HTTP, v.ports.Store, v.ports.Response, v.ports.Request)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		v.t.Fatal(err)
	}
	node := cluster.NewDaemon(cluster.DaemonConfig{
		Name: "second node", Path: filepath.Join(bin, "raid-node"), Args: []string{"--config", conf}, Log: filepath.Join(dir, "node.log"),
	})
	v.t.Cleanup(func() {
		if err := node.Kill(); err != nil {
			v.t.Error(err)
		}
		if v.t.Failed() {
			v.t.Logf("the second node's log:\n%s", node.LogTail(20))
		}
	})
	if err := node.Start(); err != nil {
		v.t.Fatal(err)
	}
	token := v.token()
	v.until(time.Minute, "the second node joins", func() error {
		ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
		defer cancel()
		join := exec.CommandContext(ctx, filepath.Join(bin, "raid-node"), "join", "--config", conf, "--token-file", "-", cluster.Loopback(v.ports.HTTP))
		join.Stdin = strings.NewReader(token)
		out, err := join.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return node
}

func (v *machine) token() string {
	v.t.Helper()
	token := regexp.MustCompile(`RAID1-[0-9A-Z-]+`).FindString(v.must("raidctl token create"))
	if token == "" {
		v.t.Fatal("raidctl token create prints no token")
	}
	return token
}

// array makes the machine's node and a second one members, and waits for both.
func (v *machine) array() (*cluster.API, *cluster.Daemon) {
	v.t.Helper()
	out := v.must("echo " + v.token() + " | raid-node join 127.0.0.1 --token-file -")
	if !strings.Contains(out, "Joined as raidpi") {
		v.t.Errorf("join: %q", out)
	}
	node, api := v.second(), v.api()
	v.allUp(api)
	return api, node
}

func (v *machine) allUp(api *cluster.API) {
	v.t.Helper()
	v.until(2*time.Minute, "both nodes are up", func() error {
		nodes, err := api.Nodes(v.t.Context())
		up := 0
		for _, n := range nodes {
			if n.State == "up" {
				up++
			}
		}
		if err == nil && up != 2 {
			err = fmt.Errorf("%d are", up)
		}
		return err
	})
}

// store uploads content and reads it back.
func (v *machine) store(api *cluster.API, c cluster.Content) int64 {
	v.t.Helper()
	made, err := api.Upload(v.t.Context(), "file", c.Reader(), c.Size)
	if err != nil {
		v.t.Fatal(err)
	}
	v.check(api, made.ID, c)
	return made.ID
}

func (v *machine) check(api *cluster.API, id int64, c cluster.Content) {
	v.t.Helper()
	if sum, size, err := api.Digest(v.t.Context(), id); err != nil || sum != c.SHA256() {
		v.t.Errorf("file %d: %d bytes, want %d of the same: %v", id, size, c.Size, err)
	}
}
