package raidctl

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestUnplugAnswersYesOrNoAndEndsSo(t *testing.T) {
	c := newController(t)
	c.local(t, "unplug", "pi-2").want(t, 0, "yes: pi-2 may be unplugged\n")
	if got := c.last(t); got != "GET /nodes/AbCdEfGhIjKlMnOpQrStUv/unplug" {
		t.Error(got)
	}
	if r := c.local(t, "unplug", "AbC", "--json"); r.status != 0 || !strings.Contains(r.stdout, `"safe":true`) || !strings.Contains(r.stdout, `"unprotected_files":3`) {
		t.Errorf("%+v", r)
	}
	c.local(t, "unplug", "pi-9").want(t, exitNotFound, "", "there is no node")
	c.local(t, "unplug").want(t, exitUsage, "", "--help")
	c.before = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/unplug") {
			io.WriteString(w, `{"safe": false, "text": "leave pi-2 on. Wait for healing", "wait_for": "healing", "seconds": 130}`)
		} else {
			io.WriteString(w, fakeNodes)
		}
	}
	c.local(t, "unplug", "pi-2").want(t, exitUnavailable, "no: leave pi-2 on. Wait for healing\n")
	if r := c.local(t, "unplug", "pi-2", "--json"); r.status != exitUnavailable || !strings.Contains(r.stdout, `"wait_for":"healing","seconds":130`) {
		t.Errorf("%+v", r)
	}
}

func TestANodeIsShown(t *testing.T) {
	c := newController(t)
	c.local(t, "node", "show", "pi-2").want(t, 0, `node       pi-2
id         AbCdEfGhIjKlMnOpQrStUv
state      up
files      7 files with a copy on it
chunks     42
space      11.8 MiB free of 29.8 GiB
zone       attic
kind       native
address    192.168.1.11:40000
version    0.1.0
last seen  2026-01-02 03:04:05
unplug     yes: pi-2 may be unplugged
`)
	if r := c.local(t, "node", "show", "pi-2", "--json"); r.status != 0 || !strings.Contains(r.stdout, `"files":7`) {
		t.Errorf("%+v", r)
	}
	c.before = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/nodes" {
			io.WriteString(w, fakeNodes)
			return
		}
		io.WriteString(w, `{"id": "AbCdEfGhIjKlMnOpQrStUv", "name": "pi-2", "kind": "native", "state": "up", "temperature": 61.3, "power": "was-low", "wear": {
			"device": "mmcblk0", "medium": "emmc", "model": "BJ\u001bTD4R", "counted": "device", "seconds": 90000, "written_bytes": 9, "stored_bytes": 3,
			"bytes_per_day": 3221225472, "written_per_stored": 2.125, "days": [{"seconds": 3600}, {"seconds": 86400}], "life_used": 90, "spare": "normal",
			"disk_temperature": 40.8, "worn": true}}`)
	}
	const rows = `disk       eMMC BJ\x1bTD4R (mmcblk0), 41 °C
written    3.0 GiB a day, 2.1 bytes for each byte stored (of 1 d 1 h that it ran)
wear       up to 90 % of its life are used up: replace it soon
`
	const machine = "machine    61 °C, too little voltage at some time since it started: give it a stronger power supply and a shorter cable\n"
	if r := c.local(t, "node", "show", "pi-2"); r.status != 0 || !strings.Contains(r.stdout, rows) || !strings.Contains(r.stdout, machine) {
		t.Errorf("%+v", r)
	}
	c.before = nil
	c.local(t, "node", "show", "pi-9").want(t, exitNotFound, "", "there is no node")
}

// A person drains a node and takes it out while files are in the trash. Each refusal is told with
// what to do. The deleted files are listed and put back afterwards.
func TestDeletedFilesAreToldOfWhenANodeGoes(t *testing.T) {
	c := newController(t)
	drained := false
	c.before = func(w http.ResponseWriter, r *http.Request) {
		switch call := r.Method + " " + r.URL.Path; {
		case call == "GET /nodes":
			io.WriteString(w, fakeNodes)
		case strings.HasSuffix(call, "/unplug") && !drained:
			io.WriteString(w, `{"safe": false, "text": "leave pi-2 on: without it up to 2 deleted files could not be put back", "wait_for": "healing", "seconds": 9}`)
		case strings.HasSuffix(call, "/unplug"):
			io.WriteString(w, `{"safe": true, "text": "pi-2 may be unplugged: no file has a copy on it"}`)
		case strings.HasPrefix(call, "DELETE /nodes/") && !drained:
			refuse(w, http.StatusPreconditionFailed, "With node pi-2 up to 2 deleted files could not be put back any more. To give them up: raidctl trash empty")
		case strings.HasPrefix(call, "DELETE /nodes/"):
			w.WriteHeader(http.StatusNoContent)
		case call == "GET /trash":
			io.WriteString(w, `{"files": [{"id": 7, "filename": "a.txt", "size": 5, "deleted": "2026-01-02 03:04:05", "seconds_left": 3600}]}`)
		case call == "POST /files/7/undelete":
			io.WriteString(w, `{"id": 7, "filename": "a.txt", "size": 5}`)
		default:
			refuse(w, http.StatusNotFound, call)
		}
	}
	c.local(t, "unplug", "pi-2").want(t, exitUnavailable, "no: leave pi-2 on: without it up to 2 deleted files could not be put back\n")
	if r := c.local(t, "node", "remove", "pi-2"); r.status == 0 || !strings.Contains(r.stderr, "raidctl trash empty") {
		t.Errorf("%+v", r)
	}
	drained = true
	c.local(t, "unplug", "pi-2").want(t, 0, "yes: pi-2 may be unplugged: no file has a copy on it\n")
	if r := c.local(t, "node", "remove", "pi-2"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	if r := c.local(t, "trash", "ls"); r.status != 0 || !strings.Contains(r.stdout, "a.txt") || !strings.Contains(r.stdout, "1 h") {
		t.Errorf("%+v", r)
	}
	c.local(t, "undelete", "7").want(t, 0, "")
}
