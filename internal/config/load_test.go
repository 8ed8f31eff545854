package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const fullController = `# as in the design, with what this version can do
state_dir = "/srv/state"
reserve = "1GiB"
log_level = "warn"
[http]
listen = ":9001"
plaintext = "any"
auth = "token"
names = ["files.example", "192.168.1.10"]
socket = "/srv/socket"
max_body = "10GB"
max_requests = 7
[nodes]
store_listen = ":6557"
response_listen = "192.168.1.10:6558"
request_listen = "[::1]:6559"
plaintext = "any"
settle = "1m30s"
[raid]
level = "raid1"
copies = 3
stripe_size = "file"
max_whole_file = "100MiB"
degraded_writes = false
[repair]
grace = "2d"
scrub_every = "0d12h"
[trash]
keep = "3d"
[events]
exec = "/bin/sh"
`

func TestEveryKeyOfTheControllerIsRead(t *testing.T) {
	got, origins, err := LoadController(write(t, fullController), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Controller{
		StateDir: "/srv/state", Reserve: GiB, LogLevel: LogWarn,
		HTTP: HTTP{":9001", PlaintextAny, AuthToken, []string{"files.example", "192.168.1.10"}, "/srv/socket", 10_000_000_000, 7},
		Nodes: Nodes{":6557", "192.168.1.10:6558", "[::1]:6559", PlaintextAny,
			Duration(90 * time.Second)},
		RAID:   RAID{"raid1", 3, WholeFile, 100 * MiB, false},
		Repair: Repair{2 * Day, Duration(12 * time.Hour)},
		Trash:  Trash{3 * Day},
		Events: Events{"/bin/sh"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, f := range fieldsOf(got) {
		if o := origins[f.key]; o.File == "" || o.Line == 0 {
			t.Errorf("%s comes from %+v, want a line of the file", f.key, o)
		}
	}
	if o := origins["raid.copies"]; o.Line != 21 || o.Column != 10 {
		t.Errorf("raid.copies stands at %d:%d, want 21:10", o.Line, o.Column)
	}
}

func TestEveryKeyOfTheNodeIsRead(t *testing.T) {
	got, _, err := LoadNode(write(t, `
chunk_dir = "/srv/chunks"
state_dir = '/srv/state'
reserve = 4096
zone = "attic"
control_socket = "/run/pi/c.sock"
controller = { host = "pi.local", http_port = 9443, store_port = 1, response_port = 2, request_port = 65535, plaintext = "any" }
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Node{"/srv/state", "/srv/chunks", 4096, "attic", LogInfo, "/run/pi/c.sock",
		NodeController{"pi.local", 9443, 1, 2, 65535, PlaintextAny}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// All ports are open to the network, so nothing may be open to strangers.
func TestDefaultsLetNoStrangerIn(t *testing.T) {
	c := DefaultController()
	if c.Nodes.Plaintext != PlaintextOff || c.HTTP.Plaintext != PlaintextLoopback || c.HTTP.Auth != AuthToken {
		t.Errorf("defaults: %+v %+v", c.HTTP, c.Nodes)
	}
}

func TestNodeTalksToNobodyWithoutTLSUnlessAsked(t *testing.T) {
	if n := DefaultNode(); n.Controller.Plaintext != PlaintextOff {
		t.Errorf("plaintext is %q", n.Controller.Plaintext)
	}
}

func TestEmptyFileMeansDefaults(t *testing.T) {
	c, _, err := LoadController(write(t, ""), nil)
	if err != nil || !reflect.DeepEqual(c, DefaultController()) {
		t.Errorf("controller: %+v, %v", c, err)
	}
	n, _, err := LoadNode(write(t, "\ufeff# written by an editor with a byte order mark\n"), nil)
	if err != nil || !reflect.DeepEqual(n, DefaultNode()) {
		t.Errorf("node: %+v, %v", n, err)
	}
}

func TestOnlyTheDefaultFileMayBeMissing(t *testing.T) {
	if _, _, err := LoadController("/nonexistent/c.toml", nil); err == nil {
		t.Error("a named file that does not exist was accepted")
	}
	if _, err := os.Stat(NodePath); errors.Is(err, os.ErrNotExist) {
		for _, path := range []string{"", NodePath} {
			if _, _, err := LoadNode(path, nil); err != nil {
				t.Errorf("LoadNode(%q): %v", path, err)
			}
		}
	}
	if _, _, err := LoadNode(t.TempDir(), nil); err == nil {
		t.Error("a folder was accepted as configuration")
	}
	if _, _, err := LoadNode(write(t, strings.Repeat("#\n", maxFile)), nil); err == nil {
		t.Error("a file beyond the limit was accepted")
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	env := []string{
		"PATH=/bin", "RAID_CONTROLLER_HTTP_LISTEN=:1", "RAID_CONTROLLER_STATE_DIR=/other", "RAID_CONTROLLER_RAID_COPIES=4",
		"RAID_CONTROLLER_RAID_DEGRADED_WRITES=true", "RAID_CONTROLLER_REPAIR_GRACE=1h", "RAID_CONTROLLER_HTTP_MAX_BODY=5MB",
		"RAID_CONTROLLER_URL=http://x:9000", "RAID_NODE_ZONE=not ours",
	}
	c, origins, err := LoadController(write(t, fullController), env)
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != ":1" || c.StateDir != "/other" || c.RAID.Copies != 4 || !c.RAID.DegradedWrites ||
		c.Repair.Grace != Duration(time.Hour) || c.HTTP.MaxBody != 5_000_000 {
		t.Errorf("got %+v", c)
	}
	if o := origins["http.listen"].String(); o != "environment RAID_CONTROLLER_HTTP_LISTEN" {
		t.Errorf("origin %q", o)
	}
}

func TestEveryKeyHasItsOwnVariable(t *testing.T) {
	for prefix, cfg := range map[string]any{ControllerPrefix: DefaultController(), NodePrefix: DefaultNode()} {
		seen := map[string]string{}
		for _, f := range fieldsOf(cfg) {
			name := f.variable(prefix)
			if other := seen[name]; other != "" || name == "RAID_CONTROLLER_URL" {
				t.Errorf("%s stands for %s and %s", name, f.key, other)
			}
			seen[name] = f.key
		}
	}
}

func TestPrintedConfigurationLoadsToTheSame(t *testing.T) {
	odd := "/srv/\\a \"b\" 'c' #ü"
	c, origins, err := LoadController(write(t, fullController), []string{"RAID_CONTROLLER_STATE_DIR=" + odd})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Print(&b, origins); err != nil {
		t.Fatal(err)
	}
	again, _, err := LoadController(write(t, b.String()), nil)
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("printed:\n%s\nloads to %+v, %v", b.String(), again, err)
	}
}

func TestPrintTellsWhereEachValueComesFrom(t *testing.T) {
	path := write(t, "zone = \"attic\"\n[controller]\nhost = \"10.0.0.1\"\n")
	n, origins, err := LoadNode(path, []string{"RAID_NODE_RESERVE=0"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := n.Print(&b, origins); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`state_dir = "/var/lib/raid-node"                # default
chunk_dir = "/var/lib/raid-node/chunks"         # default
reserve = "0"                                   # environment RAID_NODE_RESERVE
zone = "attic"                                  # from FILE:1
log_level = "info"                              # default
control_socket = "/run/raid-node/control.sock"  # default

[controller]
host = "10.0.0.1"                               # from FILE:3
http_port = 9000                                # default
store_port = 5557                               # default
response_port = 5558                            # default
request_port = 5559                             # default
plaintext = "off"                               # default
`, "FILE", path)
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
