package raidctl

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// person sits at a terminal in which raidctl runs.
type person struct {
	t      *testing.T
	keys   *os.File // the terminal's other side
	tty    *os.File
	cmd    *exec.Cmd
	stdout bytes.Buffer

	mu     sync.Mutex
	screen string // all that was ever on it
}

func atTerminal(t *testing.T, args ...string) *person {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	raw, err := keys.SyscallConn() // keys.Fd would make reading it uninterruptible
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if err := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	p := &person{t: t, keys: keys, tty: tty, cmd: exec.CommandContext(t.Context(), binary, args...)}
	p.cmd.Stdin, p.cmd.Stderr, p.cmd.Stdout = tty, tty, &p.stdout
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // so that Ctrl-C is for it
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.watch()
	return p
}

// watch ends when the terminal is closed.
func (p *person) watch() {
	for b := make([]byte, 1024); ; {
		n, err := p.keys.Read(b)
		p.mu.Lock()
		p.screen += string(b[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *person) sees() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen
}

// until waits for something to happen.
func (p *person) until(what string, happened func() bool) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%s: not seen; the screen says %q", what, p.sees())
		}
	}
}

func (p *person) waitFor(text string) {
	p.t.Helper()
	p.until(text, func() bool { return strings.Contains(p.sees(), text) })
}

// waitForHiding waits until the terminal shows nothing of what is typed.
func (p *person) waitForHiding() {
	p.t.Helper()
	p.until("hidden input", func() bool { return !p.echoes() })
}

func (p *person) echoes() bool {
	mode, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

func (p *person) types(text string) {
	p.t.Helper()
	if _, err := p.keys.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) ends(status int, stdout string) {
	p.t.Helper()
	_ = p.cmd.Wait()
	if _, err := p.tty.WriteString("<end>"); err != nil {
		p.t.Fatal(err)
	}
	p.waitFor("<end>") // and so all before it
	if got := p.cmd.ProcessState.ExitCode(); got != status || p.stdout.String() != stdout {
		p.t.Errorf("status %d, want %d; stdout %q; screen %q", got, status, p.stdout.String(), p.sees())
	}
	if !p.echoes() {
		p.t.Error("the terminal shows nothing of what is typed any more")
	}
}

func TestPersonPinsAControllerOnFirstUse(t *testing.T) {
	c := newController(t)
	p := atTerminal(t, "login", c.https)
	p.waitFor("Token (not shown")
	p.waitForHiding()
	p.types(c.token + "\n")
	p.waitFor(c.ca.Pin().Fingerprint())
	p.waitFor("sudo raidctl fingerprint")
	p.waitFor("Is it the same (yes, no, or the fingerprint from there)? ")
	p.types("y\n")
	p.waitFor("Write yes or no")
	if got := c.requests(); len(got) > 0 {
		t.Errorf("sent before the answer: %q", got)
	}
	p.types("yes\n")
	p.ends(0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.https+".\n")
	if strings.Contains(p.sees(), c.token[8:]) {
		t.Errorf("the token is on the screen: %q", p.sees())
	}
	want := map[string]string{"url": c.https, "fingerprint": c.ca.Pin().Fingerprint(), "token": c.token}
	if got := storedLogin(t); !maps.Equal(got, want) {
		t.Errorf("stored is %v", got)
	}
	// The next time nothing is asked but the token.
	p = atTerminal(t, "login")
	p.waitForHiding()
	p.types(c.token + "\n")
	p.ends(0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.https+".\n")
	if strings.Contains(p.sees(), "not known here") {
		t.Errorf("asked again: %q", p.sees())
	}
}

func TestPersonComparesByPastingTheFingerprint(t *testing.T) {
	c, other := newController(t), newController(t)
	p := atTerminal(t, "login", c.https, "--ca-only")
	p.waitFor("from there)? ")
	p.types(other.ca.Pin().Fingerprint() + "\n")
	p.ends(exitStranger, "")
	if !strings.Contains(p.sees(), "IS NOT THE ONE") || len(c.requests()) > 0 || storedLogin(t) != nil {
		t.Errorf("%q", p.sees())
	}
	c.before = echoToken(false)
	p = atTerminal(t, "login", c.https, "--ca-only")
	p.waitFor("from there)? ")
	p.types(c.ca.Pin().Fingerprint() + "\n")
	p.ends(exitFailed, "") // 418: it was asked, and so was trusted
	if got := c.requests(); len(got) != 1 || got[0] != "GET /status" {
		t.Errorf("sent was %q", got)
	}
}

// The token knows whom it is for, so that nothing is asked.
func TestPersonWithATokenThatKnowsItsControllerIsAskedNothingElse(t *testing.T) {
	c := newController(t)
	c.token = c.pinnedToken(t)
	p := atTerminal(t, "login", c.https)
	p.waitForHiding()
	p.types(c.token + "\n")
	p.ends(0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.https+".\n")
	if strings.Contains(p.sees(), "not known here") || strings.Contains(p.sees(), c.token[20:]) {
		t.Errorf("%q", p.sees())
	}
	if got := storedLogin(t); got["fingerprint"] != c.ca.Pin().Fingerprint() {
		t.Errorf("stored is %v", got)
	}
}

func TestPersonDeclinesAController(t *testing.T) {
	for _, answer := range []string{"no\n", "\x04", "\x03"} { // Ctrl-D, Ctrl-C
		c := newController(t)
		p := atTerminal(t, "login", c.https, "--token", c.token)
		p.waitFor("from there)? ")
		p.types(answer)
		p.ends(map[string]int{"\x03": exitInterrupted}[answer]+map[bool]int{true: exitFailed}[answer != "\x03"], "")
		if len(c.requests()) > 0 || storedLogin(t) != nil {
			t.Errorf("%q: something was sent or stored", answer)
		}
	}
}

func TestInterruptedQuestionForTheTokenLeavesTheTerminalAsItWas(t *testing.T) {
	c := newController(t)
	p := atTerminal(t, "login", c.https, "--fingerprint", c.ca.Pin().Fingerprint())
	p.waitForHiding()
	p.types("\x03")
	p.ends(exitInterrupted, "")
	if !strings.Contains(p.sees(), "interrupted: ask for the token") || storedLogin(t) != nil {
		t.Errorf("%q", p.sees())
	}
}

func TestStrangersAreNotPinned(t *testing.T) {
	c := newController(t)
	p := atTerminal(t, "login", strings.Replace(c.plain, "http:", "https:", 1), "--token", c.token)
	p.ends(exitFailed, "")
	if !strings.Contains(p.sees(), "does not speak TLS") {
		t.Errorf("%q", p.sees())
	}
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	stranger.StartTLS()
	defer stranger.Close()
	p = atTerminal(t, "login", stranger.URL, "--token", c.token)
	p.ends(exitFailed, "")
	if !strings.Contains(p.sees(), "That is no raid-controller") || storedLogin(t) != nil {
		t.Errorf("%q", p.sees())
	}
}

func TestWhoForcesARemovalTypesHowManyFilesAreLost(t *testing.T) {
	c := newController(t)
	c.mu.Lock()
	c.before = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			w.Write([]byte(fakeNodes))
		case r.URL.RawQuery != "force=1&lose=20":
			w.WriteHeader(http.StatusConflict)
			w.Write([]byte(`{"message": "with node pi-2 20 files would be LOST", "lose": 20}`))
		}
	}
	c.mu.Unlock()
	for typed, status := range map[string]int{"20": 0, "19": exitFailed, "yes": exitFailed, "": exitFailed} {
		p := atTerminal(t, "node", "remove", "--force", "pi-2", "--socket", c.socket)
		p.waitFor("type how many files that are: ")
		p.types(typed + "\n")
		stdout := ""
		if status == 0 {
			stdout = "removed AbCdEfGhIjKlMnOpQrStUv (pi-2)\n"
		}
		p.ends(status, stdout)
		if sent := c.last(t); (sent == "DELETE /nodes/AbCdEfGhIjKlMnOpQrStUv?force=1&lose=20") != (status == 0) {
			t.Errorf("%q: sent was %s", typed, sent)
		}
	}
}
