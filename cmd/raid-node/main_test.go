package main

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/config"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/test/kit"
)

// binary is raid-node, built once.
var binary string

func TestMain(m *testing.M) {
	code := kit.RunWithProgram(m, ".", func(built string) {
		binary = built
	})
	os.Exit(code)
}

// settings is an environment for a node whose controller is away.
func settings(dir string) []string {
	return []string{
		"RAID_NODE_STATE_DIR=" + filepath.Join(dir, "state"), "RAID_NODE_CHUNK_DIR=" + filepath.Join(dir, "chunks"), "RAID_NODE_RESERVE=0",
		"RAID_NODE_CONTROL_SOCKET=" + filepath.Join(dir, "control.sock"), "RAID_NODE_CONTROLLER_PLAINTEXT=loopback",
		"RAID_NODE_CONTROLLER_STORE_PORT=1", "RAID_NODE_CONTROLLER_RESPONSE_PORT=2", "RAID_NODE_CONTROLLER_REQUEST_PORT=3",
	}
}

func TestNodeIsReadyWithoutItsController(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(append(os.Environ(), settings(t.TempDir())...), "NOTIFY_SOCKET="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	heard := map[string]bool{}
	wait := func(words ...string) {
		t.Helper()
		for _, w := range words {
			for !heard[w] {
				b := make([]byte, 4096)
				manager.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, err := manager.Read(b)
				if err != nil {
					t.Fatalf("waiting for %q, heard %v: %v", w, heard, err)
				}
				word, _, _ := strings.Cut(string(b[:n]), "=")
				heard[word] = true
			}
		}
	}
	wait("READY", "STATUS") // in either order
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait("STOPPING")
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM it ends with %v", err)
	}
}

// start runs a node until it is ready, ends it, and returns how it ended.
func start(t *testing.T, dir string, args ...string) (status int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), settings(dir)...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stderr = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	ready := false
	for b := make([]byte, 4096); ; {
		n, err := r.Read(b)
		out += string(b[:n])
		if err != nil {
			break
		}
		if !ready && strings.Contains(out, "raid-node is ready") {
			ready = true
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
		}
	}
	_ = cmd.Wait() // its status is the result
	return cmd.ProcessState.ExitCode(), out
}

func TestNodeRefusesADiskThatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	if status, out := start(t, dir); status != 0 {
		t.Fatalf("first start: status %d\n%s", status, out)
	}
	if status, out := start(t, dir); status != 0 {
		t.Fatalf("second start: status %d\n%s", status, out)
	}
	// The disk is not mounted: an empty folder lies in its place.
	chunks := filepath.Join(dir, "chunks")
	if err := os.Rename(chunks, chunks+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(chunks, 0o755); err != nil {
		t.Fatal(err)
	}
	if status, out := start(t, dir); status != service.ExitFailed || !strings.Contains(out, "--new-disk") {
		t.Errorf("empty disk: status %d\n%s", status, out)
	}
	if names, err := os.ReadDir(chunks); err != nil || len(names) > 0 {
		t.Errorf("%v lies in the disk's place, %v", names, err)
	}
	// It is not there at all, and then the wrong one is.
	if err := os.Remove(chunks); err != nil {
		t.Fatal(err)
	}
	if status, out := start(t, dir); status != service.ExitFailed || !strings.Contains(out, "nothing was made in its place") {
		t.Errorf("no disk: status %d\n%s", status, out)
	}
	if _, err := os.Stat(chunks); !os.IsNotExist(err) {
		t.Errorf("something was made in the disk's place: %v", err)
	}
	other := t.TempDir()
	if status, out := start(t, other); status != 0 {
		t.Fatalf("another node: status %d\n%s", status, out)
	}
	if err := os.Rename(filepath.Join(other, "chunks"), chunks); err != nil {
		t.Fatal(err)
	}
	if status, out := start(t, dir); status != service.ExitConfig || !strings.Contains(out, "remembers disk") {
		t.Errorf("another node's disk: status %d\n%s", status, out)
	}
	if err := errors.Join(os.RemoveAll(chunks), os.Mkdir(chunks, 0o755)); err != nil {
		t.Fatal(err)
	}
	if status, out := start(t, dir, "--new-disk"); status != 0 {
		t.Errorf("with --new-disk: status %d\n%s", status, out)
	}
	if status, out := start(t, dir); status != 0 {
		t.Errorf("afterwards: status %d\n%s", status, out)
	}
}

// The other node may be about to end: the service manager should try again.
func TestNodeWhoseDiskIsInUseEndsAsOneThatMayBeStartedAgain(t *testing.T) {
	dir := t.TempDir()
	other, err := chunkstore.OpenDisk(chunkstore.DiskConfig{
		ChunkDir: filepath.Join(dir, "chunks"), StateDir: filepath.Join(dir, "state"), Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, out := start(t, dir); status != service.ExitFailed || !strings.Contains(out, "another raid-node has it") {
		t.Errorf("disk in use: status %d\n%s", status, out)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if status, out := start(t, dir); status != 0 {
		t.Errorf("afterwards: status %d\n%s", status, out)
	}
}

// What can't be read is not known to be wrong: the service manager should try again.
func TestNodeTriesAgainToReadItsConfigurationAndRefusesAWrongOne(t *testing.T) {
	for name, c := range map[string]struct {
		text, link string // of a fragment
		status     int
		says       string
	}{
		"disk error":    {link: "/proc/self/mem", status: service.ExitFailed, says: "input/output error"},
		"vanished":      {link: "/nowhere", status: service.ExitFailed, says: "no such file"},
		"unknown key":   {text: "[controller]\nhosts = 1\n", status: service.ExitConfig, says: "did you mean host?"},
		"wrong as well": {text: "zone = 1\n", link: "/nowhere", status: service.ExitConfig, says: "zone: want a text"},
		"a folder":      {link: "/", status: service.ExitConfig, says: "is a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			conf, fragments := filepath.Join(dir, "n.toml"), filepath.Join(dir, "conf.d")
			err := errors.Join(os.WriteFile(conf, nil, 0o600), os.Mkdir(fragments, 0o755), os.WriteFile(filepath.Join(fragments, "a.toml"), []byte(c.text), 0o600))
			if c.link != "" {
				err = errors.Join(err, os.Symlink(c.link, filepath.Join(fragments, "b.toml")))
			}
			if err != nil {
				t.Fatal(err)
			}
			if status, out := start(t, dir, "--config", conf); status != c.status || !strings.Contains(out, c.says) {
				t.Errorf("status %d, want %d\n%s", status, c.status, out)
			}
		})
	}
}

func TestNodeRefusesABadConfiguration(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "n.toml")
	if err := os.WriteFile(conf, []byte("[controller]\nhosts = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", conf}, {"--config", conf, "--check-config"}} {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		out, _ := cmd.CombinedOutput() // its status and its words are looked at
		if cmd.ProcessState.ExitCode() != service.ExitConfig || !strings.Contains(string(out), "n.toml:2:1: controller.hosts: unknown key; did you mean host?") {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// A key that the daemon does not hand on would be read, printed, and mean
// nothing.
func TestEveryKeyReachesTheNode(t *testing.T) {
	env := []string{
		"STATE_DIR=/s", "CHUNK_DIR=/c", "RESERVE=1", "ZONE=z", "CONTROL_SOCKET=/k", "CONTROLLER_HOST=h", "CONTROLLER_HTTP_PORT=9", "CONTROLLER_STORE_PORT=2",
		"CONTROLLER_RESPONSE_PORT=3", "CONTROLLER_REQUEST_PORT=4", "CONTROLLER_PLAINTEXT=any",
	}
	for i := range env {
		env[i] = config.NodePrefix + env[i]
	}
	cfg, origins, err := config.LoadNode("/dev/null", env)
	if err != nil {
		t.Fatal(err)
	}
	c := compose(cfg, origins, true, slog.New(slog.DiscardHandler), &service.Notifier{})
	if c.Log == nil || c.Random == nil || c.Dial == nil || c.Ready == nil || c.Status == nil || c.Watch == nil || c.Now == nil || c.Built.IsZero() ||
		c.Version == "" || c.Name == "" || c.Machine == nil {
		t.Errorf("something of %+v is missing", c)
	}
	c.Log, c.Random, c.Dial, c.Ready, c.Status, c.Now, c.Built = nil, nil, nil, nil, nil, nil, time.Time{}
	c.Version, c.Name, c.MachineID, c.Watch = "", "", "", nil
	c.HostName, c.Machine = nil, nil
	place := node.ControllerAddress{Host: "h", HTTPPort: 9, StorePort: 2, ResponsePort: 3, RequestPort: 4}
	want := node.Config{
		StateDir: "/s", ChunkDir: "/c", Reserve: 1, Zone: "z", NewDisk: true, ControlSocket: "/k",
		Controller: place, Fallback: place, Plaintext: wire.PlaintextAny,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// What joining has told comes before a default and after a person's word.
func TestOnlyWhatSomebodyWroteComesBeforeWhatJoiningTold(t *testing.T) {
	cfg, origins, err := config.LoadNode("/dev/null", []string{config.NodePrefix + "CONTROLLER_STORE_PORT=2"})
	if err != nil {
		t.Fatal(err)
	}
	c := compose(cfg, origins, false, slog.New(slog.DiscardHandler), &service.Notifier{})
	if want := (node.ControllerAddress{StorePort: 2}); c.Controller != want {
		t.Errorf("written: %+v, want %+v", c.Controller, want)
	}
	if want := (node.ControllerAddress{Host: "controller.local", HTTPPort: 9000, StorePort: 2, ResponsePort: 5558, RequestPort: 5559}); c.Fallback != want {
		t.Errorf("at last: %+v, want %+v", c.Fallback, want)
	}
}
