package raidctl

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// last is the last of a controller's requests since the last call.
func (c *controller) last(t *testing.T) string {
	t.Helper()
	all := c.requests()
	if len(all) == 0 {
		t.Fatal("nothing was sent")
	}
	return all[len(all)-1]
}

func TestTokenCreatePrintsExactlyOneLineToPaste(t *testing.T) {
	c := newController(t)
	const rest = " | sudo raid-node join controller.local --token-file -\n"
	c.local(t, "token", "create", "--uses", "3", "--ttl", "30m").want(t, 0, "echo "+c.joinToken+rest)
	if got := c.last(t); got != `POST /join-tokens {"uses":3,"ttl_seconds":1800,"node":""}` {
		t.Error(got)
	}
	r := invocation{args: []string{"token", "create", "--socket", c.socket}, watched: true}.run(t)
	r.want(t, 0, "echo "+c.joinToken+rest, "Paste this", "3 nodes in, within 30 min", "192.168.1.10 instead")
	if strings.Contains(r.stderr, c.joinToken) {
		t.Error("the token is on standard error too")
	}
	if got := c.last(t); got != `POST /join-tokens {"uses":1,"ttl_seconds":1800,"node":""}` {
		t.Error("by default:", got)
	}
	c.local(t, "token", "create", "--node", "pi-2", "--ttl", "1d").want(t, 0, "echo "+c.joinToken+rest)
	if got := c.last(t); got != `POST /join-tokens {"uses":1,"ttl_seconds":86400,"node":"AbCdEfGhIjKlMnOpQrStUv"}` {
		t.Error("for a node:", got)
	}
	var made map[string]any
	r = c.local(t, "token", "create", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil || made["command"] != "echo "+c.joinToken+strings.TrimSuffix(rest, "\n") || made["token"] != c.joinToken {
		t.Errorf("in JSON: %+v", r)
	}
}

func TestLineToPasteNamesTheController(t *testing.T) {
	c := newController(t)
	for hosts, want := range map[string]string{
		`["10.0.0.1"], "port": 9001`:     "join 10.0.0.1:9001 --token-file",
		`["fd00::1"], "port": 9001`:      "join '[fd00::1]:9001' --token-file",
		`["pi.example.org"], "port": 0`:  "join pi.example.org --token-file",
		`[], "port": 9000`:               ".local --token-file",
		`["A-b_c.d", "x"], "port": 9000`: "join A-b_c.d --token-file",
	} {
		c.hosts = hosts
		if r := c.local(t, "token", "create"); r.status != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: %+v", hosts, r)
		}
	}
}

func TestWhoIsNotFoundByNameIsTriedByAddress(t *testing.T) {
	for hosts, want := range map[string]string{
		"": "", "pi.local": "", "pi.local pi.home.lan": "pi.home.lan",
		"pi.local pi.home.lan pi controller.local 192.168.1.10 fd00::1": "192.168.1.10", "pi.local pi fd00::1": "fd00::1",
	} {
		if got := otherHost(strings.Fields(hosts)); got != want {
			t.Errorf("%q: %q, want %q", hosts, got, want)
		}
	}
}

// The line is for a shell with sudo, so a controller must not choose more of it
// than a name and a token.
func TestLineToPasteHoldsNothingOfAnEvilController(t *testing.T) {
	c := newController(t)
	for _, host := range []string{"x; rm -rf /", "$(id)", "`id`", "a b", "-x", "x|y", "x\n", "x'y", "é", "x&"} {
		text, _ := json.Marshal([]string{host})
		c.hosts = string(text) + `, "port": 9000`
		if r := c.local(t, "token", "create"); r.status != exitFailed || r.stdout != "" {
			t.Errorf("%q: %+v", host, r)
		}
	}
	c.hosts = `["controller.local"], "port": 9000`
	good := c.joinToken
	for _, token := range []string{"", "RAID1-x; id", good + " x; id", good[:40], good[:40] + "0" + good[41:]} {
		c.joinToken = token + "-a-b" // the fake takes the id out of it
		if token == "" {
			c.joinToken = "--"
		}
		if r := c.local(t, "token", "create"); r.status != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, "no token") {
			t.Errorf("%q: %+v", token, r)
		}
	}
}

func TestJoinTokensAreListedAndRevoked(t *testing.T) {
	c := newController(t)
	c.local(t, "token", "ls").want(t, 0, `ID        USES LEFT  ENDS IN      FOR NODE                USED BY
k7m2p9qa  1 of 3     29 min 59 s  any new one             pi-2, pi-3
abcd2345  1 of 1     over         AbCdEfGhIjKlMnOpQrStUv  -
`)
	if r := c.local(t, "token", "ls", "--json"); strings.Count(r.stdout, "\n") != 2 || strings.Contains(r.stdout, `"token"`) {
		t.Errorf("in JSON: %+v", r)
	}
	c.local(t, "token", "revoke", "k7m2p9qa", "--json").want(t, 0, `{"id":"k7m2p9qa","revoked":true}`+"\n")
	if got := c.last(t); got != "DELETE /join-tokens/k7m2p9qa" {
		t.Error(got)
	}
	c.local(t, "token", "revoke", c.joinToken).want(t, 0, "")
	if got := c.last(t); got != "DELETE /join-tokens/"+strings.Split(c.joinToken, "-")[2] {
		t.Errorf("of a whole token %q was sent", got)
	}
	for _, bad := range []string{"../files/1", "a/b", "a?b", "", ".", c.joinToken[:60]} {
		r := c.local(t, "token", "revoke", bad)
		if r.status != exitFailed || len(c.requests()) > 0 {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func TestAccessTokensAreMadeListedAndRevoked(t *testing.T) {
	c := newController(t)
	c.local(t, "access", "create", "laptop", "--scope", "write").want(t, 0, c.accessText+"\n")
	if got := c.last(t); got != `POST /access-tokens {"name":"laptop","scope":"write","ttl_seconds":2592000}` {
		t.Error(got)
	}
	r := invocation{args: []string{"access", "create", "x", "--scope", "read", "--ttl", "never", "--socket", c.socket}, watched: true}.run(t)
	r.want(t, 0, c.accessText+"\n", "shown once", "until 2026-02-01 03:04:05 UTC")
	if got := c.last(t); got != `POST /access-tokens {"name":"x","scope":"read","ttl_seconds":0}` {
		t.Error(got)
	}
	c.local(t, "access", "ls").want(t, 0, `ID        SCOPE  STATE   CREATED (UTC)        EXPIRES (UTC)  NAME
x7Kq1234  write  active  2026-01-02 03:04:05  never          lap\x1btop
`)
	c.local(t, "access", "revoke", "x7Kq1234").want(t, 0, "")
	if got := c.last(t); got != "DELETE /access-tokens/x7Kq1234" {
		t.Error(got)
	}
	c.local(t, "access", "revoke", c.accessText).want(t, 0, "")
	if got := c.last(t); got != "DELETE /access-tokens/"+c.accessText[7:15] {
		t.Errorf("of a whole token %q was sent", got)
	}
	r = c.local(t, "access", "revoke", c.accessText[:40])
	r.want(t, exitFailed, "", "not whole")
	r.hides(t, c.accessText[:40])
	for _, args := range []string{"create", "create x", "create x --scope root", "create x y --scope read", "create x --scope read --ttl 0", "revoke", "nonsense", ""} {
		c.local(t, append([]string{"access"}, strings.Fields(args)...)...).want(t, exitUsage, "", "--help")
	}
	if got := c.requests(); len(got) > 0 {
		t.Errorf("sent was %q", got)
	}
}

func TestNodesAreNamedByIDPrefixOrHostName(t *testing.T) {
	c := newController(t)
	const id = "AbCdEfGhIjKlMnOpQrStUv"
	for _, name := range []string{id, "AbC", "pi-2", "PI-2"} {
		c.local(t, "node", "remove", name).want(t, 0, "removed "+id+" (pi-2)\n")
		if got := c.last(t); got != "DELETE /nodes/"+id {
			t.Errorf("%s: %s", name, got)
		}
	}
	c.local(t, "node", "remove", "--force", "--json", "pi-2").want(t, 0, `{"id":"`+id+`","removed":true}`+"\n")
	if got := c.last(t); got != "DELETE /nodes/"+id+"?force=1" {
		t.Error(got)
	}
	c.local(t, "node", "rotate", "pi-2").want(t, 0, "")
	if got := c.last(t); got != "POST /nodes/"+id+"/rotate" {
		t.Error(got)
	}
	c.local(t, "node", "remove", "0123456789abcdefghij00").want(t, 0, "removed 0123456789abcdefghij00\n") // one that is not listed any more
	c.local(t, "node", "remove", "pi-9").want(t, exitNotFound, "", `there is no node "pi-9"; raidctl node ls shows them`)
	c.before = func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"nodes": [{"id": "Ab1", "name": "x"}, {"id": "Ab2", "name": "x"}, {"id": "Ab", "name": "y"}]}`))
	}
	c.local(t, "node", "rotate", "x").want(t, exitNotFound, "", `"x" may be Ab1 (x) or Ab2 (x): write more of the id`)
	c.local(t, "node", "rotate", "A").want(t, exitNotFound, "", "write more of the id")
	c.local(t, "node", "rotate", "Ab").want(t, 0, "")
	if got := c.last(t); got != "POST /nodes/Ab/rotate" {
		t.Error(got)
	}
	for _, args := range []string{"", "nonsense", "remove", "remove a b", "rotate"} {
		c.local(t, append([]string{"node"}, strings.Fields(args)...)...).want(t, exitUsage, "", "--help")
	}
	if a, b := c.local(t, "node", "ls"), c.local(t, "nodes"); a != b || a.status != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}

func TestNodesArePlacedNamedAndTheirDisksAccepted(t *testing.T) {
	c := newController(t)
	const id = "AbCdEfGhIjKlMnOpQrStUv"
	for _, w := range []struct{ args, sent, says string }{
		{"zone pi-2 cellar", `{"zone":"cellar"}`, id + ` (pi-2) is in zone "cellar"` + "\n"},
		{"rename AbC upstairs", `{"name":"upstairs"}`, id + ` (pi-2) is called "upstairs"` + "\n"},
		{"zone pi-2 cellar --json", `{"zone":"cellar"}`, `{"id":"` + id + `","zone":"cellar"}` + "\n"},
	} {
		c.local(t, append([]string{"node"}, strings.Fields(w.args)...)...).want(t, 0, w.says)
		if got := c.last(t); got != "PATCH /nodes/"+id+" "+w.sent {
			t.Errorf("%s: %s", w.args, got)
		}
	}
	c.local(t, "node", "zone", "pi-2", "").want(t, 0, id+` (pi-2) is in zone ""`+"\n")
	if got := c.last(t); got != "PATCH /nodes/"+id+` {"zone":""}` {
		t.Error(got)
	}
	c.local(t, "node", "accept", "pi-2").want(t, exitFailed, "", "shows no larger disk")
	c.before = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, strings.Replace(fakeNodes, `"free_bytes"`, `"claimed_bytes": 256000000000, "free_bytes"`, 1))
			return
		}
		io.WriteString(w, "{}")
	}
	c.local(t, "node", "accept", "pi-2").want(t, 0, "the disk of "+id+" (pi-2) counts for 238.4 GiB\n")
	if got := c.last(t); got != "PATCH /nodes/"+id+` {"accept_bytes":256000000000}` {
		t.Error(got)
	}
	for _, args := range []string{"zone", "zone pi-2", "zone pi-2 a b", "accept", "accept a b", "rename pi-2"} {
		c.local(t, append([]string{"node"}, strings.Fields(args)...)...).want(t, exitUsage, "", "--help")
	}
}

func TestRefusedRemovalSaysWhatTheControllerSays(t *testing.T) {
	c := newController(t)
	c.before = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Write([]byte(fakeNodes))
			return
		}
		w.WriteHeader(http.StatusConflict)
		w.Write([]byte(`{"message": "with node pi-2 20 files would be LOST; --force --lose 20", "lose": 20}`))
	}
	for _, args := range []string{"", "--force", "--force --lose 19"} { // nobody is at a terminal
		c.local(t, append([]string{"node", "remove", "pi-2"}, strings.Fields(args)...)...).want(t, exitFailed, "", "20 files would be LOST; --force --lose 20")
	}
	if got := c.last(t); got != "DELETE /nodes/AbCdEfGhIjKlMnOpQrStUv?force=1&lose=19" {
		t.Error(got)
	}
	c.local(t, "node", "remove", "pi-2", "--force", "--lose=-1").want(t, exitUsage, "", "--lose is a number of files")
}

func TestFingerprintAndCACompareWithTheControllers(t *testing.T) {
	c := newController(t)
	want := c.ca.Pin().Fingerprint()
	c.local(t, "fingerprint").want(t, 0, want+"\n")
	c.local(t, "fingerprint", "--json").want(t, 0, `{"fingerprint":"`+want+`"}`+"\n")
	c.local(t, "ca").want(t, 0, string(c.ca.PEM()))
	raidctl(t, "fingerprint", "--controller", c.plain).want(t, 0, want+"\n")
	c.login(t)
	raidctl(t, "ca").want(t, 0, string(c.ca.PEM()))
	for _, command := range []string{"ca", "fingerprint"} {
		raidctl(t, command, "--controller", "http://192.0.2.1:9000").want(t, exitFailed, "", "proves nothing", "raidctl login https://192.0.2.1:9000")
	}
	other := newController(t)
	c.login(t)
	for _, text := range []string{"", "no certificate", string(other.ca.PEM()), string(c.ca.PEM()) + "; id"} {
		c.before = func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(text)) }
		if r := raidctl(t, "ca"); r.status != exitFailed || r.stdout != "" {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

func TestLifetimesAreReadAsTheyAreWritten(t *testing.T) {
	for in, want := range map[string]string{"30m": "30m", "1h30m": "1h30m", "12h": "12h", "24h": "1d", "30d": "30d", "never": "never", "90s": "1m30s"} {
		var l lifetime
		if err := l.Set(in); err != nil || l.String() != want {
			t.Errorf("%s: %s, %v", in, l.String(), err)
		}
	}
	for _, bad := range []string{"", "0", "0d", "-1h", "-1d", "d", "1", "1w", "99999999d", "1ms", "forever"} {
		if err := new(lifetime).Set(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
