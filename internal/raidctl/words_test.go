package raidctl

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/reason/insider"
)

// strange answers as no raid-controller does.
func strange(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch kind {
		case "not JSON":
			io.WriteString(w, "<html>Welcome to your router</html>")
		case "half":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"files": [`)
		case "no HTTP":
			hijack(w, "SSH-2.0-OpenSSH_9.2\r\n")
		case "hangs up":
			hijack(w, "")
		case "error without words":
			w.WriteHeader(500)
		case "error of a proxy":
			w.WriteHeader(502)
			io.WriteString(w, "<h1>502 Bad Gateway</h1>")
		case "other types":
			io.WriteString(w, `{"files": 7, "nodes": "x", "id": {}, "array": []}`)
		case "moved":
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		case "no digest":
			io.WriteString(w, "bytes")
		}
	}
}

func hijack(w http.ResponseWriter, text string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(c, text)
	c.Close()
}

func TestNoInsidersWordsInWhatPeopleRead(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	f.put("f", []byte("x"))
	file := writeFile(t, dir, "file", "text")
	check := func(what string, r result) {
		t.Helper()
		if r.status == 0 || r.stderr == "" {
			t.Errorf("%s: %+v", what, r)
		}
		if found := insider.Find(r.stderr); found != "" {
			t.Errorf("%s: %q in %q", what, found, r.stderr)
		}
		if strings.Count(r.stderr, "\n") != strings.Count(strings.TrimSpace(r.stderr), "\n")+1 {
			t.Errorf("%s: not whole lines: %q", what, r.stderr)
		}
	}
	for _, line := range []string{
		"lss", "nonsense", "ls x", "ls --limit x", "ls --limit 99999999999999999999", "ls --limit", "ls --after 1.5", "ls --nope", "ls -z", "ls --json=maybe",
		"upload", "upload --name", "upload -", "upload /none/there", "upload DIR", "upload --name x a b", "upload -j 0 FILE", "upload -j x FILE", "upload --jobs 1000 FILE",
		"download", "download x", "download 0", "download -1", "download 99999999999999999999", "download 1 2 -o FILE", "download 1 -o /none/there", "download 9", "download 1 -o FILE/x",
		"info", "info x", "info 9", "rm", "rm x", "rm 9", "status x", "events x", "events --since x", "events --limit x", "events -n -1", "nodes x", "node", "node x", "node remove", "node remove a b", "node remove nobody", "node rotate",
		"token", "token create x", "token create --uses x", "token create --ttl x", "token create --uses", "token revoke", "token revoke ../x", "access", "access create",
		"access create x", "access create x --scope root", "access create x y --scope read", "access create x --scope read --ttl 5", "access create x --scope read --ttl -1h", "access revoke",
		"login a b", "login http://10.0.0.1", "login ftp://x", "login me:secret@x", "login --fingerprint x controller.local", "login --token x controller.local",
		"status --controller :9000", "status --controller http://", "status --controller x:port", "status --controller [::1", "status --controller a --socket b",
		"status --socket /none/there", "status --socket DIR", "status --token-file /none/there", "status --token-file DIR", "status --token-file -", "completion bash x",
		"status --controller localhost:1", "status --controller nowhere.invalid", "status --controller 'x y'", "logout x", "version x", "fingerprint x", "ca x", "--json ls --limit x", "--nope", "-q", "--controller",
	} {
		args := strings.Fields(strings.NewReplacer("DIR", dir, "FILE", file, "'x y'", "x\x1b").Replace(line))
		check(line, f.raidctl(t, args...))
	}
	for _, kind := range []string{"not JSON", "half", "no HTTP", "hangs up", "error without words", "error of a proxy", "other types", "moved", "no digest"} {
		f.fault(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { strange(kind)(w, r) })
		for _, line := range []string{"ls", "status", "upload FILE", "download 1 -o -", "token create", "ca"} {
			check(kind+": "+line, f.raidctl(t, strings.Fields(strings.NewReplacer("DIR", dir, "FILE", file).Replace(line))...))
		}
	}
}

func TestWordsOfTheCommandLineSayWhatToDo(t *testing.T) {
	f := newFake(t)
	for line, want := range map[string]string{
		"lss":                     `raidctl: raidctl has no command "lss"; did you mean ls?; see raidctl --help` + "\n",
		"statsu":                  `did you mean status?`,
		"xyzzy":                   `raidctl: raidctl has no command "xyzzy"; see raidctl --help` + "\n",
		"ls --limit x":            `--limit "x" is no whole number`,
		"ls --limit":              `--limit needs a value`,
		"ls --lmit 3":             `raidctl ls has no flag --lmit`,
		"node remove":             `something is missing: raidctl node remove NODE`,
		"ls x":                    `too many words: raidctl ls`,
		"ls --json=may":           `--json "may": it is true or false`,
		"token create --ttl soon": `--ttl "soon": write a length of time with its unit`,
	} {
		f.raidctl(t, strings.Fields(line)...).want(t, exitUsage, "", want)
	}
	if r := f.raidctl(t); r.status != 0 || !strings.Contains(r.stdout, "upload") {
		t.Errorf("without a word: %+v", r)
	}
}

func TestFreshLaptopIsToldToLogIn(t *testing.T) {
	newController(t) // for its empty home
	for _, command := range []string{"ls", "status", "upload /dev/null", "node ls"} {
		r := invocation{args: strings.Fields(command), socket: filepath.Join(t.TempDir(), "none")}.run(t)
		r.want(t, exitUnreachable, "", "raidctl login controller.local")
		for _, word := range []string{"127.0.0.1", "systemctl", "refused"} {
			if strings.Contains(r.stderr, word) {
				t.Errorf("%s speaks of %s: %s", command, word, r.stderr)
			}
		}
	}
	// On the controller itself there is something to start.
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "raid-controller"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	raidctl(t, "ls").want(t, exitUnreachable, "", "sudo systemctl start raid-controller", "raidctl login controller.local")
}

func TestErrorsInJSONKeepTheStatus(t *testing.T) {
	f := newFake(t)
	f.fault(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { refuse(w, 507, "full") })
	r := f.raidctl(t, "--json", "rm", "1")
	var e struct {
		Message string `json:"message"`
		HTTP    int    `json:"http_status"`
	}
	if err := json.Unmarshal([]byte(r.stderr), &e); err != nil || fmt.Sprint(e) != "{full 507}" {
		t.Errorf("%+v, %v", e, err)
	}
}
