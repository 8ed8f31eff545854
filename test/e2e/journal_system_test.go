//go:build system

package e2e

import (
	"bufio"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// journal is a stand-in for journald on a host: it prints the fields of each event
// that comes to its socket, as JSON. systemd.io/JOURNAL_NATIVE_PROTOCOL says how they
// look on the wire.
const journal = `
import json, os, socket, struct
os.makedirs("/run/systemd/journal")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/systemd/journal/socket")
print("{}", flush=True)
while True:
    b, f = s.recv(1 << 20), {}
    while b:
        line, _, b = b.partition(b"\n")
        key, eq, value = line.partition(b"=")
        if not eq:
            n = struct.unpack("<Q", b[:8])[0]
            value, b = b[8:8 + n], b[8 + n + 1:]
        f[key.decode()] = value.decode()
    print(json.dumps(f), flush=True)
`

// A daemon whose standard error is the journal's gives it events with fields that can
// be searched for, and standard error nothing.
func TestJournalGetsStructuredEvents(t *testing.T) {
	s := newScene(t)
	out, in := s.controller.Shell(t.Context(), s.bin, "exec /usr/bin/python3 -c '"+journal+"'"), filepath.Join(s.controller.Home(), "stderr")
	pipe, err := out.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Process.Kill(); _ = out.Wait() }()
	lines := bufio.NewScanner(pipe)
	lines.Scan() // it listens
	daemon := s.controller.Shell(t.Context(), s.bin, "exec 2>stderr; JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) RAID_NODE_RESERVE=0 exec "+filepath.Join(programs.race, "raid-node"))
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = daemon.Process.Kill(); _ = daemon.Wait() }()
	late := time.AfterFunc(20*time.Second, func() { _ = out.Process.Kill() })
	defer late.Stop()
	for lines.Scan() {
		var f map[string]string
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(f["MESSAGE"], "raid-node is ready") {
			continue
		}
		if f["PRIORITY"] != "6" || f["SYSLOG_IDENTIFIER"] != "raid-node" || len(f["RAID_NODE"]) != 22 || f["RAID_CHUNK_DIR"] != "/var/lib/raid-node/chunks" {
			t.Errorf("the event's fields are %q", f)
		}
		if text := s.paste(s.controller, "cat "+in); text != "" {
			t.Errorf("standard error has %q too", text)
		}
		return
	}
	t.Errorf("the journal did not hear that the daemon is ready; on standard error: %s", s.paste(s.controller, "cat "+in))
}
