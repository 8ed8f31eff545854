package raidctl

import (
	"io"
	"net/http"
	"testing"
)

// How far scrubs are is listed by the nodes' names, in a table, and for one node alone.
func TestScrubsAreListedByTheNodesNames(t *testing.T) {
	c := newController(t)
	c.before = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/nodes" {
			io.WriteString(w, fakeNodes)
			return
		}
		io.WriteString(w, `{"oldest_verified": "2026-01-02 03:04:05", "nodes": [
			{"node": "CdEfGhIjKlMnOpQrStUvWx", "name": "pi-3", "state": "running", "checked_bytes": 1048576, "of_bytes": 4194304, "of_chunks": 4, "found_bad": 2, "bad_chunks": 1, "seconds_left": 90},
			{"node": "AbCdEfGhIjKlMnOpQrStUv", "name": "pi-2", "state": "waiting", "next_seconds": 7200, "last_began": "2026-01-01 00:00:00"}]}`)
	}
	const header = "NAME  STATE    READ                BAD  TIME LEFT   LAST BEGAN (UTC)\n"
	c.local(t, "scrub", "status").want(t, 0, header+
		"pi-2  waiting  -                   0    due in 2 h  2026-01-01 00:00:00\n"+
		"pi-3  running  1.0 MiB of 4.0 MiB  2    1 min 30 s  never\n"+
		"every copy was read or stored since 2026-01-02 03:04:05 UTC\n")
	c.local(t, "scrub", "status", "pi-2").want(t, 0, "NAME  STATE    READ  BAD  TIME LEFT   LAST BEGAN (UTC)\npi-2  waiting  -     0    due in 2 h  2026-01-01 00:00:00\n")
	c.local(t, "scrub", "status", "pi-9").want(t, exitNotFound, "", "there is no node")
}
