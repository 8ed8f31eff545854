package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/test/kit"
)

const otherArray = raid.ArrayID("9000000000000000000000")

func TestNodeJoinsWithOneTokenAndComesBackByItself(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	stop := n.start()
	token := o.token()
	if s := n.now(); s.Joined || !strings.Contains(s.Status, "Not joined: run sudo raid-node join 127.0.0.1:"+strconv.Itoa(s.ControllerAddress.HTTPPort)+" with a token of the controller (there: sudo raidctl token create)") {
		t.Errorf("before: %+v", s)
	}
	start := time.Now()
	done := n.join(o, token)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("joining took %v, want less than 2 s", took)
	}
	if done.Message != "Joined as pi-2 (3/4 nodes)" || len(done.Warnings) > 0 {
		t.Errorf("it says %+v", done)
	}
	s := o.session()
	small := newChunk(t, 1000)
	must(t, small.store(s))
	now := n.now()
	if !now.Joined || now.Array != testArray || now.Node != s.Node() || now.HTTPPort != o.port || now.StorePort != o.ports[0] {
		t.Errorf("afterwards: %+v", now)
	}
	if o.last.Protocol != wire.ProtocolVersion || o.last.Version != "1.2.3" || o.last.Name != "pi-2" || o.last.Node != now.Node || o.last.Token != token.ID() {
		t.Errorf("it asked with %+v", o.last)
	}
	stop()

	n.start()
	if again := o.session(); again.Node() != s.Node() {
		t.Errorf("node %s came back as %s", s.Node(), again.Node())
	} else {
		must(t, small.getAll(again))
	}
	if n.log.Count("Joined") == 0 {
		t.Error("joining was not logged")
	}
	wantNoSecret(t, n, token)
}

// wantNoSecret looks for the token in all that was logged and shown.
func wantNoSecret(t *testing.T, n *testNode, token identity.Token) {
	t.Helper()
	secret := strings.Split(token.String(), "-")[3]
	for what, all := range map[string]*kit.Log{"log": n.log, "status": n.status} {
		if all.Count(secret) > 0 {
			t.Errorf("the secret is in the %s", what)
		}
	}
}

func TestJoiningAgainChangesNothing(t *testing.T) {
	o, other := startOffice(t, testArray), startOffice(t, otherArray)
	n := newMember(t, o)
	n.start()
	n.join(o, o.token())
	s := o.session()
	second := o.token()
	done := n.join(o, second)
	if !strings.Contains(done.Message, "already joined to array "+string(testArray)) || o.spent(second) != 0 || n.now().Node != s.Node() {
		t.Errorf("it says %+v, and %d uses were spent", done, o.spent(second))
	}
	_, err := n.remote().Join(t.Context(), orderFor(other, other.token()))
	wantFailure(t, err, node.ExitSetRight, "This node is already joined to array "+string(testArray), "To move it: sudo raid-node leave")
	if other.calls > 0 {
		t.Error("the other controller was asked")
	}
	must(t, newChunk(t, 1000).store(s))
}

func TestWhyJoiningFailsIsSaidInWords(t *testing.T) {
	o, other := startOffice(t, testArray), startOffice(t, otherArray)
	n := newMember(t, o)
	n.start()
	n.remote()
	token := o.token()
	mistyped := []byte(token.String())
	mistyped[10], mistyped[11] = mistyped[11], mistyped[10]
	if mistyped[10] == mistyped[11] {
		mistyped[10] ^= 1
	}
	plain, closing, dead := plainHTTP(t), hangsUp(t), deadPort(t)
	onPort := func(port int) func(*node.JoinOrder) { return func(j *node.JoinOrder) { j.Port = port } }
	for name, c := range map[string]struct {
		order  func(*node.JoinOrder)
		answer func(http.ResponseWriter, *http.Request) bool
		exit   int
		words  []string
	}{
		"wrong pin": {order: onPort(other.port), exit: node.ExitRefused, words: []string{
			fmt.Sprintf("The controller at 127.0.0.1:%d is not the one this token was made for (fingerprint %s, got %s). Nothing was sent.", other.port, o.ca.Pin().Short().Brief(), other.ca.Pin().Short().Brief()),
			"Wrong host, or the controller was reinstalled; make a new token"}},
		"mistyped":     {order: func(j *node.JoinOrder) { j.Token = string(mistyped) }, exit: node.ExitToken, words: []string{"This token was mistyped (checksum). Copy the whole line again"}},
		"no token":     {order: func(j *node.JoinOrder) { j.Token = "secret" }, exit: node.ExitToken, words: []string{"not a token", "sudo raidctl token create"}},
		"no host":      {order: func(j *node.JoinOrder) { j.Host = "" }, exit: node.ExitUsage},
		"bad port":     {order: onPort(70000), exit: node.ExitUsage},
		"expired":      {answer: say(401, "This token expired 12 minutes ago. On the controller: sudo raidctl token create"), exit: node.ExitRefused, words: []string{"This token expired 12 minutes ago. On the controller: sudo raidctl token create"}},
		"spent":        {answer: say(401, "This token has no uses left (used by pi-2, pi-3, pi-4)"), exit: node.ExitRefused, words: []string{"no uses left (used by pi-2, pi-3, pi-4)"}},
		"removed":      {answer: say(403, "node was removed."), exit: node.ExitRefused, words: []string{"node was removed."}},
		"copied":       {answer: say(409, "there is a node of this id with another key"), exit: node.ExitSetRight, words: []string{"another key"}},
		"too old":      {answer: say(426, "Controller 0.3 needs raid-node 0.2 or newer; this is 0.1. Run sudo apt install --only-upgrade raid-node"), exit: node.ExitSetRight, words: []string{"Controller 0.3 needs raid-node 0.2 or newer"}},
		"too new":      {answer: say(404, "no such page"), exit: node.ExitSetRight, words: []string{"older than this raid-node", "raid-controller"}},
		"busy":         {answer: say(429, "too many attempts"), exit: node.ExitAgain, words: []string{"too many attempts"}},
		"unwell":       {answer: say(500, ""), exit: node.ExitAgain, words: []string{"status 500"}},
		"escape codes": {answer: say(401, "\x1b[2Jgone\nraid-node: fine"), exit: node.ExitRefused, words: []string{"?[2Jgone?raid-node: fine"}},
		"breaks off":   {answer: breakOff, exit: node.ExitAgain, words: []string{"broke off"}},
		"refused":      {order: onPort(dead), exit: node.ExitUnreachable, words: []string{fmt.Sprintf("127.0.0.1:%d refused the connection. On the controller run: systemctl status raid-controller", dead)}},
		"plain HTTP":   {order: onPort(plain), exit: node.ExitUnreachable, words: []string{fmt.Sprintf("Port %d is open but is not raid-controller (HTTP, no TLS)", plain)}},
		"hangs up":     {order: onPort(closing), exit: node.ExitUnreachable, words: []string{fmt.Sprintf("Port %d is open but is not raid-controller (no TLS)", closing)}},
	} {
		o.will(c.answer, nil)
		order := orderFor(o, token)
		if c.order != nil {
			c.order(&order)
		}
		t.Run(name, func(t *testing.T) {
			_, err := n.remote().Join(t.Context(), order)
			wantFailure(t, err, c.exit, c.words...)
			if strings.Contains(err.Error(), strings.Split(token.String(), "-")[3]) {
				t.Error("the error holds the secret")
			}
		})
	}
	if s := n.now(); s.Joined || s.Array != "" {
		t.Errorf("after all that: %+v", s)
	}
	if other.calls > 0 {
		t.Error("something was sent to the wrong controller")
	}
	wantNoSecret(t, n, token)
	o.will(nil, nil)
	n.join(o, token) // no failure has cost a use
}

// plainHTTP is the port of a web server.
func plainHTTP(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).Port
}

// hangsUp is the port of something that ends each connection.
func hangsUp(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 64))
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).Port
}

// deadPort is one on which nobody listens.
func deadPort(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestHostThatIsNotFound(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.cfg.Dial = func(_ context.Context, network, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		err := &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		if host == "alone.local" {
			err.UnwrapErr = mdns.ErrNoAnswer
		}
		if host == "slow" {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	n.start()
	for host, words := range map[string]string{
		"controller.local": "controller.local was not found by mDNS. Is avahi-daemon running here, and is the controller on this network? Try its address: sudo raid-node join 192.168.1.10",
		"alone.local":      "alone.local was not found by mDNS. Nobody in this network answers to that name: is the controller on and in this network, and does avahi-daemon run on it? Try its address: sudo raid-node join 192.168.1.10",
		"Pi.LOCAL.":        "was not found by mDNS",
		"pi.example":       "pi.example was not found by DNS. Is the name right?",
		"slow":             "slow:9000 does not answer",
	} {
		_, err := n.remote().Join(t.Context(), node.JoinOrder{Host: host, Token: o.token().String()})
		wantFailure(t, err, node.ExitUnreachable, words)
	}
}

func TestClockThatIsWrongIsWarnedAboutAndNoMore(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.cfg.Now = func() time.Time { return time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC) }
	n.start()
	done := n.join(o, o.token())
	want := "This Pi's clock says 1970-01-01; joining anyway, certificates are checked by pin. Fix: timedatectl"
	if len(done.Warnings) != 1 || done.Warnings[0] != want {
		t.Errorf("warnings %q", done.Warnings)
	}
	o.session()
}

func TestPersonsWordAboutTheControllerIsNotForgotten(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.cfg.Controller = node.ControllerAddress{Host: "127.0.0.2"} // the office does not listen there
	n.start()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := n.remote().Join(ctx, orderFor(o, o.token()))
	wantFailure(t, err, node.ExitAgain) // it has joined, and looks for its controller where it was told
	kit.Eventually(t, "it is looked for there", func() bool { s := n.now(); return s.Joined && s.Host == "127.0.0.2" && s.StorePort == o.ports[0] })
}

func TestDiskOfAnotherArrayIsTakenAlongOnlyWhenAsked(t *testing.T) {
	old, o := startController(t, otherArray), startOffice(t, testArray)
	n := newNode(t, old)
	stop := n.start()
	s := old.session()
	former := s.Node()
	chunk := newChunk(t, 1000)
	chunk.meta.Array = otherArray
	chunk.meta.Commit = 7_000_000
	must(t, chunk.store(s))
	stop()

	m := newMember(t, o)
	m.cfg.StateDir, m.cfg.ChunkDir = n.cfg.StateDir, n.cfg.ChunkDir
	m.start()
	token := o.token()
	_, err := m.remote().Join(t.Context(), orderFor(o, token))
	wantFailure(t, err, node.ExitSetRight, fmt.Sprintf("%s has the marker of node %s (array %s)", m.cfg.ChunkDir, former, otherArray), "--adopt", "or choose another directory")
	if o.calls > 0 {
		t.Error("something was sent")
	}
	order := orderFor(o, token)
	order.Adopt = true
	if _, err := m.remote().Join(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	s = o.session()
	if s.Node() != former || m.now().Array != testArray {
		t.Errorf("node %s, status %+v", s.Node(), m.now())
	}
	kit.Eventually(t, "the disk is scanned", func() bool { return o.lastBeat().Scanned })
	if b := o.lastBeat(); b.Chunks != 0 || b.HighestCommit >= 7_000_000 {
		t.Errorf("the new array hears of the old one's commits: %+v", b)
	}
	if kept, err := filepath.Glob(filepath.Join(m.cfg.ChunkDir, "kept-"+string(otherArray)+"-"+string(former), "??", "*")); len(kept) != 1 {
		t.Errorf("kept of the old array's chunks: %q, %v", kept, err)
	}
}

func TestBrokenOffJoinGoesOnWithTheSameKeyAndCostsOneUse(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	stop := n.start()
	token := o.token()
	order := orderFor(o, token)
	var first request
	try := func(what string) {
		t.Helper()
		if _, err := n.remote().Join(t.Context(), order); err == nil {
			t.Fatalf("%s: joined", what)
		}
		if first.Node == "" {
			first = o.last
		}
		if key(t, o.last) != key(t, first) || o.last.Node != first.Node {
			t.Errorf("%s: it came with another key or id", what)
		}
	}
	o.will(nil, breakOff)
	try("the answer is lost")
	stop()
	stop = n.start()
	try("the answer is lost again, after a restart")
	o.will(nil, nil)
	blocked := filepath.Join(n.cfg.StateDir, "controller.json.new")
	must(t, os.MkdirAll(filepath.Join(blocked, "x"), 0o700))
	try("the state directory takes no file")
	must(t, os.RemoveAll(blocked))
	stop()
	n.start()
	n.join(o, token)
	if s := o.session(); s.Node() != first.Node || key(t, o.last) != key(t, first) || o.spent(token) != 1 {
		t.Errorf("node %s became %s, %d uses were spent", first.Node, s.Node(), o.spent(token))
	}
}

func key(t *testing.T, r request) identity.Pin {
	t.Helper()
	k, err := identity.ReadCSR(r.CSR)
	must(t, err)
	return k.Pin()
}

func TestAnswersThatDoNotFitChangeNothing(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.start()
	token := o.token()
	for what, answer := range map[string]string{
		"no JSON":          `{"array":`,
		"no ports":         `{}`,
		"other array":      `{"array":"` + string(otherArray) + `","store_port":1,"response_port":2,"request_port":3}`,
		"huge":             `{"array":"` + strings.Repeat("a", 100_000) + `"}`,
		"no node":          `{"array":"` + string(testArray) + `","store_port":1,"response_port":2,"request_port":3}`,
		"not an HTTP body": "",
	} {
		o.will(nil, func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, answer); return true })
		_, err := n.remote().Join(t.Context(), orderFor(o, token))
		wantFailure(t, err, node.ExitAgain)
		if s := n.now(); s.Joined {
			t.Errorf("%s: joined", what)
		}
	}
}

func TestNodeThatHasNotJoinedTalksToNobody(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	var dialled atomic.Int32
	n.cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		dialled.Add(1)
		return nil, errors.New("nobody is called")
	}
	n.start()
	select {
	case <-n.ready:
	case <-time.After(20 * time.Second):
		t.Fatal("it is not ready without having joined")
	}
	kit.Eventually(t, "the status says so", func() bool { return n.status.Count("Not joined") > 0 })
	time.Sleep(200 * time.Millisecond)
	if dialled.Load() > 0 {
		t.Error("it called somebody")
	}
}

func TestNodeThatHasJoinedTalksToNobodyWithoutTLS(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.cfg.Plaintext = wire.PlaintextAny
	stop := n.start()
	n.join(o, o.token())
	o.session()
	stop()

	plain := startController(t, testArray)
	n.cfg.Controller = node.ControllerAddress{StorePort: plain.ports[0], ResponsePort: plain.ports[1], RequestPort: plain.ports[2]}
	n.start()
	kit.Eventually(t, "the status says that it is not connected", func() bool { return n.status.Count("Reconnecting") > 0 })
	select {
	case <-plain.up:
		t.Error("it serves a controller without TLS")
	default:
	}
}

func TestNodeThatJoinsLeavesPlaintextBehind(t *testing.T) {
	plain, o := startController(t, testArray), startOffice(t, testArray)
	n := newMember(t, o)
	n.cfg.Plaintext = wire.PlaintextLoopback
	n.cfg.Fallback.StorePort, n.cfg.Fallback.ResponsePort, n.cfg.Fallback.RequestPort = plain.ports[0], plain.ports[1], plain.ports[2]
	n.start()
	s := plain.session()
	kept := newChunk(t, 1000)
	must(t, kept.store(s))
	n.join(o, o.token())
	inside := o.session()
	if inside.Node() != s.Node() {
		t.Errorf("node %s joined as %s: its chunks were known by its id", s.Node(), inside.Node())
	}
	must(t, kept.getAll(inside))
}

func TestOrderWithoutPortMeans9000(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	asked := make(chan string, 1)
	n.cfg.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		asked <- addr
		return nil, errors.New("away")
	}
	n.start()
	_, err := n.remote().Join(t.Context(), node.JoinOrder{Host: "::1", Token: o.token().String()})
	wantFailure(t, err, node.ExitUnreachable, "can't be reached")
	if addr := <-asked; addr != "[::1]:"+strconv.Itoa(9000) {
		t.Errorf("it called %s", addr)
	}
}

// The identity makes a node a member, so all else is on disk before it.
func TestNodeIsNoMemberBeforeItKnowsItsController(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.start()
	blocked := filepath.Join(n.cfg.StateDir, "controller.json.new")
	must(t, os.MkdirAll(filepath.Join(blocked, "x"), 0o755)) // where nothing can be written now
	token := o.token()
	if _, err := n.remote().Join(t.Context(), orderFor(o, token)); err == nil {
		t.Fatal("it joined without remembering where")
	}
	if _, err := os.Stat(filepath.Join(n.cfg.StateDir, "identity", "node.pem")); !errors.Is(err, fs.ErrNotExist) || n.now().Joined {
		t.Errorf("it is a member: %v", err)
	}
	must(t, os.RemoveAll(blocked))
	if _, err := n.remote().Join(t.Context(), orderFor(o, token)); err != nil {
		t.Fatal(err)
	}
	if o.session(); o.spent(token) != 1 {
		t.Errorf("%d uses are spent", o.spent(token))
	}
}

// The zone says by which of this machine's interfaces; in a URL its % is written %25.
func TestNodeJoinsAtALinkLocalAddress(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.cfg.Controller, n.cfg.Fallback = node.ControllerAddress{}, node.ControllerAddress{}
	asked := make(chan string, 1)
	o.before = func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- r.Host
		return false
	}
	dial := new(net.Dialer).DialContext
	n.cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		port, ok := strings.CutPrefix(addr, "[fe80::5%lo]:")
		if !ok {
			return nil, fmt.Errorf("dialled %s", addr)
		}
		return dial(ctx, network, "127.0.0.1:"+port)
	}
	n.start()
	if _, err := n.remote().Join(t.Context(), node.JoinOrder{Host: "fe80::5%lo", Port: o.port, Token: o.token().String()}); err != nil {
		t.Fatal(err)
	}
	o.session()
	if host := <-asked; strings.Contains(host, "%") {
		t.Errorf("the zone, which is this machine's own, was sent: %s", host)
	}
	if s := n.now(); s.Host != "fe80::5%lo" {
		t.Errorf("it remembers %q", s.Host)
	}
}
