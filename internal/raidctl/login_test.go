package raidctl

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoginByFingerprintStoresItForItsOwnerAlone(t *testing.T) {
	c := newController(t)
	path, _ := loginPath()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	c.login(t)
	want := map[string]string{"url": c.https, "fingerprint": c.ca.Pin().Fingerprint(), "token": c.token}
	if got := storedLogin(t); !maps.Equal(got, want) {
		t.Errorf("stored is %v", got)
	}
	for p, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left are %q", left)
	}
	r := raidctl(t, "status")
	r.hides(t, c.token)
	if r.status != 0 || !strings.Contains(r.stdout, "ready") {
		t.Errorf("status by the login: %+v", r)
	}
	invocation{args: []string{"login", c.https, "--json", "--token-file", "-"}, stdin: c.token}.run(t).
		want(t, 0, `{"array":"TIzPgsHtLSx9sOLUYazQs6","fingerprint":"`+c.ca.Pin().Fingerprint()+`","url":"`+c.https+`"}`+"\n")
}

func TestLoginWithoutATerminalNeedsTheFingerprint(t *testing.T) {
	c := newController(t)
	r := invocation{args: []string{"login", c.https, "--token-file", "-"}, stdin: c.token}.run(t)
	r.want(t, exitFailed, "", "is not known here yet", "add --fingerprint", "sudo raidctl fingerprint")
	r.hides(t, c.ca.Pin().Fingerprint(), c.token)
	if len(c.requests()) > 0 || storedLogin(t) != nil {
		t.Error("something was sent or stored")
	}
	for _, bad := range []string{"", "SHA256:abc", "MD5:00"} {
		raidctl(t, "login", c.https, "--fingerprint="+bad, "--ca-only").want(t, map[bool]int{true: exitFailed, false: exitUsage}[bad == ""], "", "fingerprint")
	}
}

func TestWrongFingerprintAtLoginIsRefusedBeforeAnythingIsSent(t *testing.T) {
	c, other := newController(t), newController(t)
	r := invocation{args: []string{"login", c.https, "--fingerprint", other.ca.Pin().Fingerprint(), "--token-file", "-"}, stdin: c.token}.run(t)
	r.want(t, exitStranger, "", "IS NOT THE ONE", c.ca.Pin().Fingerprint(), other.ca.Pin().Fingerprint(), "Nothing was sent")
	r.hides(t, c.token)
	if len(c.requests()) > 0 || storedLogin(t) != nil {
		t.Error("something was sent or stored")
	}
}

func TestChangedControllerIsRefusedBeforeTheTokenIsSent(t *testing.T) {
	c, other := newController(t), newController(t)
	c.login(t)
	address := strings.TrimPrefix(other.https, "https://")
	l, err := readLogin()
	if err != nil {
		t.Fatal(err)
	}
	l.URL = other.https // now another one has the address
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	before := storedLogin(t)
	for _, args := range [][]string{
		{"status"}, {"info", "1"}, {"status", "--json"}, {"ca"}, {"node", "rotate", "pi-2"}, {"status", "--controller", other.https},
		{"status", "--controller", address}, {"login"}, {"login", other.https, "--token-file", "-"},
	} {
		r := invocation{args: args, stdin: c.token, env: []string{"RAID_TOKEN=" + c.token}}.run(t)
		r.want(t, exitStranger, "", "IS NOT THE ONE", other.ca.Pin().Fingerprint(), c.ca.Pin().Fingerprint(), "raidctl logout")
		r.hides(t, c.token)
	}
	if got := other.requests(); len(got) > 0 {
		t.Errorf("the other controller got %q", got)
	}
	if !maps.Equal(before, storedLogin(t)) {
		t.Error("the login has changed")
	}
	invocation{args: []string{"login", other.https, "--fingerprint", other.ca.Pin().Fingerprint(), "--token-file", "-"}, stdin: other.token}.run(t).
		want(t, 0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+other.https+".\n")
}

func TestLoginWithATokenThatIsRefusedStoresNothing(t *testing.T) {
	c := newController(t)
	wrong := newAccessToken(t)
	args := []string{"login", c.https, "--fingerprint", c.ca.Pin().Fingerprint()}
	r := invocation{args: args, env: []string{"RAID_TOKEN=" + wrong}}.run(t)
	r.want(t, exitNotAllowed, "", "this token is not valid here", "sudo raidctl access create NAME --scope write")
	r.hides(t, wrong)
	raidctl(t, append(args, "--ca-only")...).want(t, exitNotAllowed, "", "a token is needed here", "without --ca-only")
	raidctl(t, args...).want(t, exitFailed, "", "no terminal to ask for the token", "--token-file")
	for text, says := range map[string]string{
		"secret-thing": "it is no token: one begins with raidpi_", c.token[:30]: "not whole", c.joinToken: "for raid-node join",
		c.joinToken[:70]: "for raid-node join", "": "there is nothing to read",
	} {
		r := invocation{args: append(args, "--token-file", "-"), stdin: text}.run(t)
		r.want(t, exitFailed, "", says)
		if text != "" {
			r.hides(t, text)
		}
	}
	if storedLogin(t) != nil {
		t.Error("something was stored")
	}
}

func TestLoginWithoutATokenRemembersTheControllerAlone(t *testing.T) {
	c := newController(t)
	c.before = func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"array": "A", "ready": true}`)) } // auth = "off"
	raidctl(t, "login", c.https, "--fingerprint", c.ca.Pin().Fingerprint(), "--ca-only").
		want(t, 0, "Logged in to array A at "+c.https+".\n")
	if r := raidctl(t, "status"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	if shown := c.secrets(); len(shown) > 0 {
		t.Errorf("shown were %q", shown)
	}
}

func TestLoginIsForHTTPS(t *testing.T) {
	c := newController(t)
	for _, url := range []string{"http://192.0.2.1:9000", "http://controller.local:9000"} {
		invocation{args: []string{"login", url, "--token-file", "-"}, stdin: c.token}.run(t).
			want(t, exitUsage, "", "no token is sent without encryption", "use https://")
	}
	raidctl(t, "login", c.plain, "--fingerprint", c.ca.Pin().Fingerprint(), "--ca-only").want(t, exitUsage, "", "--fingerprint is for https")
	// On this machine plain HTTP is as good.
	invocation{args: []string{"login", c.plain, "--token-file", "-"}, stdin: c.token}.run(t).
		want(t, 0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.plain+".\n")
	raidctl(t, "login").want(t, exitFailed, "", "no terminal to ask for the token")
	raidctl(t, "logout").want(t, 0, "")
	raidctl(t, "login").want(t, exitUsage, "", "say which controller: raidctl login controller.local")
	raidctl(t, "login", "--socket", c.socket).want(t, exitUsage, "", "a socket needs no login")
	raidctl(t, "login", "https://me:pass@x").want(t, exitUsage, "", "user name or password in it")
	raidctl(t, "login", "https://me:pass@x").hides(t, "pass@")
}

func TestLogoutForgetsEverything(t *testing.T) {
	c := newController(t)
	c.login(t)
	r := invocation{args: []string{"logout"}, watched: true}.run(t)
	r.want(t, 0, "", "sudo raidctl access revoke "+c.token[7:15])
	r.hides(t, c.token)
	if storedLogin(t) != nil {
		t.Error("the login is still there")
	}
	raidctl(t, "logout", "--json").want(t, 0, `{"logged_out":false}`+"\n")
	raidctl(t, "status", "--controller", c.https).want(t, exitStranger, "", "is not known here", "raidctl login "+c.https)
	if got := c.secrets(); len(got) != 1 {
		t.Errorf("after the logout the token was shown: %q", got)
	}
}

func TestLoginFilesOfOthersOrDamagedAreNotUsed(t *testing.T) {
	c := newController(t)
	c.login(t)
	path, _ := loginPath()
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	r := raidctl(t, "status")
	r.want(t, exitFailed, "", "other users can open", "chmod 600 "+path)
	r.hides(t, c.token)
	for _, text := range []string{"", "{", `{"url": "ftp://x"}`, `{"url": "https://x", "token": "` + c.token[:20] + `"}`, `{"url": "https://x", "fingerprint": "SHA256:x"}`, "[]", strings.Repeat(" ", 1<<20)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		r := raidctl(t, "status")
		r.want(t, exitFailed, "", "it is not what raidctl login wrote", "raidctl logout")
		r.hides(t, c.token[:20])
	}
	raidctl(t, "logout").want(t, 0, "")
	raidctl(t, "logout").want(t, 0, "")
}

func FuzzParseLogin(f *testing.F) {
	f.Add([]byte(`{"url":"https://controller.local:9000","fingerprint":"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}`))
	f.Add([]byte(`{"url":"http://[::1]:9000"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLogin(text)
		if err != nil {
			if l != nil {
				t.Error("both a login and an error")
			}
			return
		}
		if !l.isFor(l.URL) {
			t.Errorf("a login for %q is not for it", l.URL)
		}
		c, err := new(app).newClient(l.target())
		if err == nil {
			c.Close()
		}
	})
}

// Before 9000 became the port of addresses that have none, a login kept them as they
// were written.
func TestOlderLoginsGoWhereTheyWent(t *testing.T) {
	for url, want := range map[string]string{
		"https://files.example": "https://files.example:443", "http://localhost": "http://localhost:80", "https://pi:9000": "https://pi:9000",
		"https://x.example/raid": "https://x.example:443/raid",
	} {
		l, err := parseLogin([]byte(`{"url": "` + url + `"}`))
		if err != nil || l.URL != want {
			t.Errorf("%s: %+v, %v", url, l, err)
		}
	}
}

func TestLoginWithATokenTrustsNothingAtFirstUse(t *testing.T) {
	c, other := newController(t), newController(t)
	c.token = c.pinnedToken(t)
	for _, i := range []invocation{
		{args: []string{"login", c.https, "--token", c.token}},
		{args: []string{"login", c.https, "--token-file", "-"}, stdin: c.token},
		{args: []string{"login", c.https}, env: []string{"RAID_TOKEN=" + c.token}},
	} {
		i.run(t).want(t, 0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.https+".\n")
		if got := storedLogin(t); got["fingerprint"] != c.ca.Pin().Fingerprint() || got["token"] != c.token {
			t.Errorf("stored is %v", got)
		}
		raidctl(t, "logout").want(t, 0, "")
	}
	// Somebody else has the address now, with the best certificate that he can make.
	r := raidctl(t, "login", other.https, "--token", c.token)
	r.want(t, exitStranger, "", "IS NOT THE ONE THAT THE TOKEN WAS MADE FOR", other.ca.Pin().Fingerprint(), "Nothing was sent")
	r.hides(t, c.token)
	raidctl(t, "login", other.https, "--token", c.token, "--fingerprint", other.ca.Pin().Fingerprint()).want(t, exitUsage, "", "--fingerprint is not that of the controller that the token was made for")
	if len(other.requests()) > 0 || storedLogin(t) != nil {
		t.Error("something was sent or stored")
	}
	for _, bad := range []string{c.token[:60], c.token[:len(c.token)-1] + "!", "x"} {
		r := raidctl(t, "login", c.https, "--token", bad)
		if r.status != exitFailed {
			t.Errorf("%+v", r)
		}
		if len(bad) > 10 {
			r.hides(t, bad)
		}
	}
}

func TestCertificateThatHasEndedIsRefusedBeforeAnythingIsSent(t *testing.T) {
	c := newControllerOf(t, time.Now().AddDate(-3, 0, 0)) // it ended two years ago
	for _, args := range [][]string{
		{"login", c.https, "--token", c.pinnedToken(t)}, {"login", c.https, "--fingerprint", c.ca.Pin().Fingerprint(), "--token", c.token},
	} {
		r := raidctl(t, args...)
		r.want(t, exitStranger, "", "the certificate of "+c.https+" ended on ", "this machine's clock says "+time.Now().Format(time.DateOnly), "Nothing was sent", "timedatectl")
		r.hides(t, c.token)
	}
	l := login{URL: c.https, Token: c.token}
	pin := c.ca.Pin()
	l.Pin = &pin
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	raidctl(t, "status").want(t, exitStranger, "", "ended on")
	if got := c.requests(); len(got) > 0 {
		t.Errorf("sent was %q", got)
	}
	// Before this machine's clock is set, the date of the program counts.
	pi := invocation{args: []string{"status"}, clock: time.Unix(100, 0), built: time.Now().AddDate(-1, 0, 0)}
	pi.run(t).want(t, exitStranger, "", "ended on", "clock says 1970-01-01", "This machine's clock is wrong")
}

func TestMachineWithoutAClockIsNotLockedOut(t *testing.T) {
	c := newController(t)
	pi := invocation{args: []string{"login", c.https, "--token", c.token, "--fingerprint", c.ca.Pin().Fingerprint()}, clock: time.Unix(100, 0), built: time.Now().AddDate(0, -1, 0)}
	pi.run(t).want(t, 0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.https+".\n", "this machine's clock says 1970-01-01, which can't be", "timedatectl")
	pi.args = []string{"status"}
	if r := pi.run(t); r.status != 0 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
}
