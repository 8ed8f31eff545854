package raidctl

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestTokensAreNeverSentOverPlainHTTPToAnotherMachine(t *testing.T) {
	c := newController(t)
	for _, url := range []string{"http://192.0.2.1:9000", "http://192.0.2.1", "http://controller.local:9000", "http://localhost.example.org"} {
		r := invocation{args: []string{"status", "--controller", url}, env: []string{"RAID_TOKEN=" + c.token}}.run(t)
		r.want(t, exitFailed, "", "no token is sent without encryption", "use https://")
		r.hides(t, c.token)
	}
	// A login's token is for its own URL.
	c.login(t)
	shown := len(c.secrets())
	raidctl(t, "status", "--controller", c.plain).want(t, exitNotAllowed, "", "a token is needed here", "Run raidctl login https://127.0.0.1")
	if got := c.secrets(); len(got) != shown {
		t.Errorf("the login's token went to another address: %q", got)
	}
	r := invocation{args: []string{"status", "--controller", c.plain}, env: []string{"RAID_TOKEN=" + c.token}}.run(t)
	if r.status != 0 {
		t.Errorf("to this machine: %+v", r)
	}
}

func TestRefusedTokensSayWhatToDo(t *testing.T) {
	c := newController(t)
	raidctl(t, "status", "--controller", c.plain).want(t, exitNotAllowed, "", "Run raidctl login https://")
	wrong := newAccessToken(t)
	r := invocation{args: []string{"status", "--controller", c.plain}, env: []string{"RAID_TOKEN=" + wrong}}.run(t)
	r.want(t, exitNotAllowed, "", "this token is not valid here", "The token is from RAID_TOKEN")
	r.hides(t, wrong)
	c.login(t)
	old := c.token
	c.token = newAccessToken(t)
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		r = raidctl(t, args...)
		r.want(t, exitNotAllowed, "", "The login's token does not work any more", "sudo raidctl access create", "raidctl login "+c.https)
		r.hides(t, old)
	}
	r = invocation{args: []string{"status"}, env: []string{"RAID_TOKEN=" + c.token}}.run(t)
	if r.status != 0 {
		t.Errorf("RAID_TOKEN in the place of the login's: %+v", r)
	}
	file := writeFile(t, t.TempDir(), "token", c.token+"\nrest\n")
	if r := raidctl(t, "status", "--token-file", file); r.status != 0 {
		t.Errorf("--token-file: %+v", r)
	}
	raidctl(t, "status", "--token-file", file+"x").want(t, exitFailed, "", "read the token")
	r = invocation{args: []string{"upload", "--token-file", "-", "--name", "x", "-"}, stdin: c.token + "\nbody"}.run(t)
	if got := c.requests(); !strings.HasSuffix(got[len(got)-1], " body") {
		t.Errorf("upload behind a token: %+v, %q", r, got)
	}
}

func TestServerThatSendsTheTokenBackDoesNotGetItShown(t *testing.T) {
	c := newController(t)
	c.login(t)
	for _, before := range []bool{false, true} {
		c.before = echoToken(before)
		for _, args := range [][]string{{"status"}, {"--json", "info", "1"}, {"ls"}} {
			raidctl(t, args...).hides(t, c.token)
		}
	}
}

func TestWhichController(t *testing.T) {
	c, second := newController(t), newController(t)
	socket := second.socket
	get := func(i invocation) target {
		t.Helper()
		a := &app{stdin: strings.NewReader(""), defaultSocket: i.socket, defaultURL: defaultURL, flags: flags{url: "", socket: ""},
			getenv: func(name string) string {
				for _, e := range i.env {
					if v, ok := strings.CutPrefix(e, name+"="); ok {
						return v
					}
				}
				return ""
			}}
		for j := 0; j+1 < len(i.args); j += 2 {
			switch i.args[j] {
			case "--controller":
				a.flags.url = i.args[j+1]
			case "--socket":
				a.flags.socket = i.args[j+1]
			}
		}
		got, err := a.choose()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	env := []string{"RAID_CONTROLLER_URL=http://10.0.0.1:9000", "RAID_CONTROLLER_SOCKET=/env.sock"}
	for _, login := range []bool{false, true} {
		standard, local := target{url: defaultURL, guess: true}, target{socket: socket}
		if login {
			c.login(t)
			l, err := readLogin()
			if err != nil {
				t.Fatal(err)
			}
			standard = l.target()
		}
		address := strings.TrimPrefix(c.https, "https://")
		for name, x := range map[string]struct {
			invocation
			want target
		}{
			"nothing":                   {invocation{socket: filepath.Join(t.TempDir(), "none")}, standard},
			"a socket is there":         {invocation{socket: socket}, local},
			"URL in the environment":    {invocation{env: env, socket: socket}, target{url: "http://10.0.0.1:9000"}},
			"socket in the environment": {invocation{env: env[1:], socket: socket}, target{socket: "/env.sock"}},
			"flag and environment":      {invocation{args: []string{"--controller", "pi:9000"}, env: env}, target{url: "pi:9000"}},
			"socket flag":               {invocation{args: []string{"--socket", "/flag.sock"}, env: env}, target{socket: "/flag.sock"}},
			"other URL":                 {invocation{args: []string{"--controller", "https://127.0.0.1:1"}}, target{url: "https://127.0.0.1:1"}},
			"same host, plain":          {invocation{args: []string{"--controller", "http://" + address}}, target{url: "http://" + address}},
		} {
			if got := get(x.invocation); !reflect.DeepEqual(got, x.want) {
				t.Errorf("login %v, %s: %+v, want %+v", login, name, got.url+got.socket, x.want.url+x.want.socket)
			}
		}
		for _, same := range []string{c.https, c.https + "/", address, strings.ToUpper(c.https[:5]) + c.https[5:]} {
			if got := get(invocation{args: []string{"--controller", same}}); login && (got.token != c.token || got.pin == nil) {
				t.Errorf("%s is not taken for the login's", same)
			} else if !login && (got.token != "" || got.pin != nil) {
				t.Errorf("%s: %+v", same, got.url)
			}
		}
	}
	raidctl(t, "status", "--controller", c.https, "--socket", socket).want(t, exitUsage, "", "give one")
}

func TestRootOnTheControllerNeedsNoLogin(t *testing.T) {
	c := newController(t)
	if r := (invocation{args: []string{"token", "create"}, socket: c.socket}).run(t); r.status != 0 {
		t.Errorf("%+v", r)
	}
	r := invocation{args: []string{"status", "--socket", c.socket}, env: []string{"RAID_TOKEN=" + c.token}}.run(t)
	if shown := c.secrets(); r.status != 0 || len(shown) > 0 {
		t.Errorf("%+v; the token was shown to the socket: %q", r, shown)
	}
	raidctl(t, "status", "--socket", c.socket+"x").want(t, exitUnreachable, "", "connect to "+c.socket+"x: it is not there", "systemctl status raid-controller")
}

func TestMissingHomeIsNoLogin(t *testing.T) {
	c := newController(t)
	for _, home := range []string{"", "/dev/null"} {
		t.Setenv("HOME", home)
		t.Setenv("XDG_CONFIG_HOME", home)
		if r := c.local(t, "status"); r.status != 0 {
			t.Errorf("%q: %+v", home, r)
		}
		invocation{args: []string{"status", "--controller", c.plain}}.run(t).want(t, exitNotAllowed, "", "Run raidctl login")
		r := invocation{args: []string{"login", c.https, "--fingerprint", c.ca.Pin().Fingerprint(), "--token-file", "-"}, stdin: c.token}.run(t)
		r.want(t, exitFailed, "", "store the login")
		r.hides(t, c.token)
	}
	if _, err := os.Stat("raidctl"); err == nil {
		t.Error("a login was stored in the working folder")
	}
}

func TestPlainHTTPBehindHTTPSIsExplained(t *testing.T) {
	c := newController(t)
	address := strings.TrimPrefix(c.plain, "http://")
	r := raidctl(t, "login", "https://"+address, "--fingerprint", c.ca.Pin().Fingerprint(), "--ca-only")
	r.want(t, exitFailed, "", "does not speak TLS", "is that its address?")
}

func TestAddressesWithAZoneAreReached(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Host, "%") {
			t.Errorf("the zone was sent in %q", r.Host)
		}
		fmt.Fprintf(w, fakeStatus, true)
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	defer s.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, address := range []string{"[::1%lo]:" + port, "http://[::1%25lo]:" + port, "http://[::1%lo]:" + port + "/"} {
		if r := raidctl(t, "status", "--controller", address); r.status != 0 {
			t.Errorf("%s: %+v", address, r)
		}
	}
}
