package node_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// member is a node that has joined, and its session.
func member(t *testing.T, o *office) (*testNode, raid.NodeID, func()) {
	t.Helper()
	n := newMember(t, o)
	stop := n.start()
	n.join(o, o.token())
	return n, o.session().Node(), stop
}

// chunkFiles counts the chunks on a node's disk.
func chunkFiles(t *testing.T, n *testNode) int {
	t.Helper()
	return chunksIn(t, n, "??")
}

// chunksIn counts those in some of its folders.
func chunksIn(t *testing.T, n *testNode, folders ...string) int {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(append(append([]string{n.cfg.ChunkDir}, folders...), "*")...))
	must(t, err)
	return len(all)
}

func TestNodeThatLeavesIsAnotherNode(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	stop := n.start()
	n.join(o, o.token())
	s := o.session()
	must(t, newChunk(t, 1000).store(s))
	done, err := n.remote().Leave(t.Context(), node.LeaveOrder{})
	must(t, err)
	now := n.now()
	if !strings.Contains(done.Message, "has left array "+string(testArray)) || !o.removed[s.Node()] || o.last.Force || len(done.Warnings) > 0 {
		t.Errorf("%+v; removed %v, asked %+v", done, o.removed, o.last)
	}
	if now.Joined || now.Node == s.Node() || chunkFiles(t, n) != 0 || !strings.Contains(now.Status, "Not joined") {
		t.Errorf("afterwards: %+v, %d chunks", now, chunkFiles(t, n))
	}
	if kept := chunksIn(t, n, "kept-"+string(testArray)+"-"+string(s.Node()), "??"); kept != 1 {
		t.Errorf("%d of its chunks are kept", kept)
	}
	done, err = n.remote().Leave(t.Context(), node.LeaveOrder{})
	if err != nil || !strings.Contains(done.Message, "nothing was changed") {
		t.Errorf("again: %+v, %v", done, err)
	}
	stop()
	n.start()
	if again := n.now(); again.Node != now.Node || again.Joined {
		t.Errorf("after a restart: %+v", again)
	}
	n.join(o, o.token())
	if s := o.session(); s.Node() != now.Node {
		t.Errorf("node %s joined as %s", now.Node, s.Node())
	}
}

func TestWhyLeavingFailsIsSaidInWords(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, stop := member(t, o)
	o.will(say(http.StatusConflict, "node has 12 chunks, 3 of them alone; add --force"), nil)
	for _, force := range []bool{false, true} {
		_, err := n.remote().Leave(t.Context(), node.LeaveOrder{Force: force})
		wantFailure(t, err, node.ExitSetRight, "12 chunks, 3 of them alone; add --force")
	}
	var asked string
	o.will(func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		asked = string(body)
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"message": "20 files would be LOST", "lose": 20}`)
		return true
	}, nil)
	_, err := n.remote().Leave(t.Context(), node.LeaveOrder{Force: true, Lose: 19})
	wantFailure(t, err, node.ExitSetRight, "20 files would be LOST")
	if f := new(node.Failure); !errors.As(err, &f) || f.Lose != 20 || asked != `{"force":true,"lose":19}` {
		t.Errorf("%+v, asked %s", err, asked)
	}
	o.will(say(http.StatusServiceUnavailable, "the catalog is busy"), nil)
	_, err = n.remote().Leave(t.Context(), node.LeaveOrder{})
	wantFailure(t, err, node.ExitAgain, "the catalog is busy", "sudo raid-node leave --force")
	if s := n.now(); !s.Joined || s.Node != id {
		t.Errorf("after that: %+v", s)
	}
	stop()

	n.cfg.Controller.HTTPPort = deadPort(t)
	n.start()
	_, err = n.remote().Leave(t.Context(), node.LeaveOrder{})
	wantFailure(t, err, node.ExitUnreachable, "refused the connection", "To forget the array here all the same: sudo raid-node leave --force")
	done, err := n.remote().Leave(t.Context(), node.LeaveOrder{Force: true})
	must(t, err)
	if len(done.Warnings) != 1 || !strings.Contains(done.Warnings[0], "sudo raidctl node remove --force "+string(id)) || n.now().Joined {
		t.Errorf("%+v, %+v", done, n.now())
	}
}

func TestNodeThatWasRemovedCanLeaveAndJoinAnew(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, stop := member(t, o)
	o.remove(id)
	stop() // the connection would be cut, which the office does not do
	n.start()
	kit.Eventually(t, "the status says that it is refused", func() bool { return strings.Contains(n.now().Status, "does not let this node in") })
	_, err := n.remote().Leave(t.Context(), node.LeaveOrder{})
	must(t, err)
	n.join(o, o.token())
	if again := o.session(); again.Node() == id {
		t.Error("it came back under the id that was removed")
	}
}

// A controller that does not know the node, such as one with an older catalog,
// can't say whether the chunks here are needed.
func TestNodeDoesNotLeaveOnTheWordOfWhoDoesNotKnowIt(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, _ := member(t, o)
	o.mu.Lock()
	o.keys[id] = identity.Pin{1}
	o.mu.Unlock()
	_, err := n.remote().Leave(t.Context(), node.LeaveOrder{})
	wantFailure(t, err, node.ExitRefused, "--force")
	if s := n.now(); !s.Joined || s.Node != id {
		t.Errorf("it has left: %+v", s)
	}
}

// A power cut when the disk has its new id and the identity is still there.
func TestLeavingThatBrokeOffIsFinished(t *testing.T) {
	o := startOffice(t, testArray)
	n, _, stop := member(t, o)
	kept := filepath.Join(n.cfg.StateDir, "identity", "node.pem")
	pem, err := os.ReadFile(kept)
	must(t, err)
	_, err = n.remote().Leave(t.Context(), node.LeaveOrder{})
	must(t, err)
	stop()
	must(t, os.WriteFile(kept, pem, 0o600))
	n.start()
	if s := n.now(); s.Joined || !strings.Contains(s.Status, "is that of node") {
		t.Errorf("in between: %+v", s)
	}
	if _, err := n.remote().Leave(t.Context(), node.LeaveOrder{}); err != nil {
		t.Fatal(err)
	}
	n.join(o, o.token())
	o.session()
}

// copyCard copies a stopped node's two directories to another machine.
func copyCard(t *testing.T, o *office, from *testNode, machine string) *testNode {
	t.Helper()
	n := newMember(t, o)
	must(t, os.CopyFS(n.cfg.StateDir, os.DirFS(from.cfg.StateDir)))
	must(t, os.CopyFS(n.cfg.ChunkDir, os.DirFS(from.cfg.ChunkDir)))
	files, err := filepath.Glob(filepath.Join(n.cfg.StateDir, "identity", "*"))
	must(t, err)
	for _, f := range files {
		must(t, os.Chmod(f, 0o600))
	}
	n.cfg.MachineID = machine
	return n
}

func TestCardsCopiedBeforeJoiningBecomeNodesOfTheirOwn(t *testing.T) {
	o := startOffice(t, testArray)
	first := newMember(t, o)
	stop := first.start()
	o.will(nil, say(http.StatusServiceUnavailable, "not now")) // a first attempt leaves a key behind
	_, err := first.remote().Join(t.Context(), orderFor(o, o.token()))
	wantFailure(t, err, node.ExitAgain)
	o.will(nil, nil)
	stop()
	second := copyCard(t, o, first, "fedcba9876543210")
	first.start()
	second.start()
	first.join(o, o.token())
	one := o.session().Node()
	second.join(o, o.token())
	if two := o.session().Node(); one == two {
		t.Error("both have the same id")
	}
}

func TestCopyOfACardIsKeptOutUntilItIsReset(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, stop := member(t, o)
	stop()
	c := copyCard(t, o, n, "fedcba9876543210")
	n.start()
	o.session()
	c.start()
	const words = "This card is a clone: machine-id differs from the one that made this identity. Run sudo raid-node reset-identity, then join"
	if s := c.now(); s.Joined || s.Status != words {
		t.Errorf("the copy: %+v", s)
	}
	_, err := c.remote().Join(t.Context(), orderFor(o, o.token()))
	wantFailure(t, err, node.ExitSetRight, words)
	_, err = c.remote().Leave(t.Context(), node.LeaveOrder{Force: true})
	wantFailure(t, err, node.ExitSetRight, words)
	if o.removed[id] {
		t.Fatal("the copy has the original removed")
	}
	if got := c.log.Count("This card is a clone"); got != 1 {
		t.Errorf("it was logged %d times, want once", got)
	}
	done, err := c.remote().ResetIdentity(t.Context(), node.ResetOrder{})
	must(t, err)
	if len(done.Warnings) > 0 {
		t.Errorf("the original's removal is advised: %q", done.Warnings)
	}
	c.join(o, o.token())
	if s := o.session(); s.Node() == id {
		t.Error("the copy kept its id")
	}
	if s := n.now(); !strings.Contains(s.Status, "Connected") || s.Node != id {
		t.Errorf("the original: %+v", s)
	}
}

func TestResetOfANodeInGoodHealthTellsWhatIsLeftToDo(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, _ := member(t, o)
	calls := o.calls
	done, err := n.remote().ResetIdentity(t.Context(), node.ResetOrder{})
	must(t, err)
	if len(done.Warnings) != 1 || !strings.Contains(done.Warnings[0], "sudo raidctl node remove --force "+string(id)) || o.calls != calls {
		t.Errorf("%+v, %d calls", done, o.calls-calls)
	}
	if s := n.now(); s.Joined || s.Node == id {
		t.Errorf("afterwards: %+v", s)
	}
}

func TestDiskThatIsNotTheMembersIsNotConnected(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, stop := member(t, o)
	stop()
	must(t, os.Rename(n.cfg.ChunkDir, n.cfg.ChunkDir+".away"))
	n.cfg.NewDisk = true
	n.start()
	s := n.now()
	if s.Joined || !strings.Contains(s.Status, "joined as "+string(id)) || !strings.Contains(s.Status, "reset-identity") {
		t.Errorf("%+v", s)
	}
	_, err := n.remote().Join(t.Context(), orderFor(o, o.token()))
	wantFailure(t, err, node.ExitSetRight, "reset-identity")
}

func TestDamagedIdentityKeepsTheNodeUpAndUnconnected(t *testing.T) {
	o := startOffice(t, testArray)
	n, _, stop := member(t, o)
	stop()
	pem := filepath.Join(n.cfg.StateDir, "identity", "node.pem")
	b, err := os.ReadFile(pem)
	must(t, err)
	must(t, os.WriteFile(pem, b[:len(b)/2], 0o600))
	n.start()
	if s := n.now(); s.Joined || !strings.Contains(s.Status, "damaged") || !strings.Contains(s.Status, "token create --node") {
		t.Errorf("%+v", s)
	}
	_, err = n.remote().Join(t.Context(), orderFor(o, o.token()))
	wantFailure(t, err, node.ExitSetRight, "damaged")
	_, err = n.remote().ResetIdentity(t.Context(), node.ResetOrder{})
	must(t, err)
	n.join(o, o.token())
	o.session()
}

// The package tells a machine that is no member what to do. How it knows one is tried
// with a real one.
func TestThePackageKnowsAMember(t *testing.T) {
	script, err := os.ReadFile("../../packaging/raid-node/postinst")
	must(t, err)
	m := regexp.MustCompile(`! -e "\$\{DPKG_ROOT:-\}/var/lib/raid-node/([^"]+)"`).FindSubmatch(script)
	if m == nil {
		t.Fatal("postinst looks for nothing in /var/lib/raid-node")
	}
	has := func(n *testNode) bool {
		_, err := os.Stat(filepath.Join(n.cfg.StateDir, string(m[1])))
		return err == nil
	}
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.start()
	n.now()
	if has(n) {
		t.Errorf("there is %s before the node has joined", m[1])
	}
	n.join(o, o.token())
	if !has(n) {
		t.Errorf("there is no %s in what a member has", m[1])
	}
}

// A passing error of the card must not keep a node out of its array until somebody
// looks: systemd starts again what ends.
func TestNodeThatCanNotReadWhoItIsEndsToTryAgain(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, stop := member(t, o)
	stop()
	dir := filepath.Join(n.cfg.StateDir, "identity")
	must(t, os.Rename(dir, dir+".away"))
	must(t, os.WriteFile(dir, nil, 0o600)) // what is below it can't be read
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := node.Run(ctx, n.cfg)
	if err == nil || ctx.Err() != nil || errors.Is(err, chunkstore.ErrDisk) || !strings.Contains(err.Error(), "tries again") {
		t.Errorf("it ended with: %v", err)
	}
	must(t, os.Remove(dir))
	must(t, os.Rename(dir+".away", dir))
	n.start()
	if s := o.session(); s.Node() != id {
		t.Errorf("it is node %s, and was %s", s.Node(), id)
	}
}

func TestMembersNewDiskThatTakesNoMarkerIsTriedAgain(t *testing.T) {
	o := startOffice(t, testArray)
	n, _, stop := member(t, o)
	stop()
	marker := filepath.Join(n.cfg.ChunkDir, "raid-node.json")
	b, err := os.ReadFile(marker)
	must(t, err)
	none := strings.Replace(string(b), string(testArray), "", 1) // the disk has no array
	must(t, os.WriteFile(marker, []byte(none), 0o600))
	n.cfg.OpenDir = func(path string) (chunkstore.FS, error) {
		f, err := faultfs.New(path)
		if err == nil {
			f.OnCall(func(c faultfs.Call) error {
				if c.Op == faultfs.Write {
					return syscall.ENOSPC
				}
				return nil
			})
		}
		return f, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := node.Run(ctx, n.cfg); !errors.Is(err, syscall.ENOSPC) || ctx.Err() != nil {
		t.Errorf("it ended with: %v", err)
	}
	n.cfg.OpenDir = nil
	n.start()
	o.session()
}

// The daemon looks only when it starts.
func TestAdviceAboutWhoTheNodeIsEndsWithTheRestart(t *testing.T) {
	const restart = "sudo systemctl restart raid-node"
	o := startOffice(t, testArray)
	n, _, stop := member(t, o)
	stop()
	pem := filepath.Join(n.cfg.StateDir, "identity", "node.pem")
	must(t, os.Chmod(pem, 0o644))
	stop = n.start()
	if s := n.now(); !strings.Contains(s.Status, "chmod 600 "+pem+"; then: "+restart) {
		t.Errorf("with an exposed key: %s", s.Status)
	}
	stop()
	must(t, os.Chmod(pem, 0o600))
	must(t, os.Rename(n.cfg.ChunkDir, n.cfg.ChunkDir+".away"))
	n.cfg.NewDisk = true
	n.start()
	if s := n.now(); !strings.Contains(s.Status, "Mount its own disk again; then: "+restart) {
		t.Errorf("with another disk: %s", s.Status)
	}
}

func TestKeyIsRenewedWhileTheNodeServes(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	stop := n.start()
	n.join(o, o.token())
	s := o.session()
	kept := newChunk(t, 1000)
	must(t, kept.store(s))
	o.mu.Lock()
	first := o.keys[s.Node()]
	o.renew = true
	o.mu.Unlock()
	kit.Eventually(t, "there is a new key", func() bool { return n.log.Count("Key renewed") == 1 })
	must(t, kept.getAll(s)) // the session has lived on
	o.mu.Lock()
	second := o.keys[s.Node()]
	o.mu.Unlock()
	if first == second {
		t.Fatal("the key is the same")
	}
	// The office knows the new key alone: who still came with the old one would
	// be refused.
	stop()
	stop = n.start()
	must(t, kept.getAll(o.session()))
	stop()
	if _, err := os.Stat(filepath.Join(n.cfg.StateDir, "identity", "node-next.pem")); err == nil {
		t.Error("there is a key without certificate left")
	}
}

func TestNextConnectionUsesTheNewKey(t *testing.T) {
	o := startOffice(t, testArray)
	n, id, _ := member(t, o)
	o.mu.Lock()
	o.renew = true
	o.mu.Unlock()
	kit.Eventually(t, "there is a new key", func() bool { return n.log.Count("Key renewed") == 1 })
	o.hub.Cut(id, identity.ErrRemoved)
	if s := o.session(); s.Node() != id {
		t.Errorf("node %s came", s.Node())
	}
}

func TestRenewalThatFailsIsNotHurried(t *testing.T) {
	o := startOffice(t, testArray)
	n, _, _ := member(t, o)
	o.will(say(http.StatusServiceUnavailable, "not now"), nil)
	o.mu.Lock()
	calls := o.calls
	o.renew = true
	o.mu.Unlock()
	kit.Eventually(t, "it is logged", func() bool { return n.log.Count("asks for a new key") == 1 })
	time.Sleep(300 * time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := o.calls - calls; got != 1 {
		t.Errorf("%d attempts within 300 ms", got)
	}
}

func TestCommandsWaitForNoOtherCommand(t *testing.T) {
	o := startOffice(t, testArray)
	n := newMember(t, o)
	n.start()
	arrived, goOn := make(chan struct{}), make(chan struct{})
	o.will(func(http.ResponseWriter, *http.Request) bool { close(arrived); <-goOn; return false }, nil)
	joined := make(chan error, 1)
	r := n.remote()
	order := orderFor(o, o.token())
	go func() { _, err := r.Join(context.Background(), order); joined <- err }()
	<-arrived
	_, err := r.Leave(t.Context(), node.LeaveOrder{})
	wantFailure(t, err, node.ExitAgain, "right now")
	close(goOn)
	must(t, <-joined)
}

func TestWithoutControlSocketTheNodeServes(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	n.cfg.ControlSocket = filepath.Join(n.cfg.StateDir, "..", "no", "such", "folder", "c")
	n.start()
	c.session()
	kit.Eventually(t, "it is logged", func() bool { return n.log.Count("no control socket") == 1 })
	_, err := node.Remote{Socket: n.cfg.ControlSocket}.Status(t.Context())
	wantFailure(t, err, node.ExitUnreachable, "raid-node does not run here")
}

// A dead Pi's disk is in this one. Nothing that is advised may take its chunks out of
// the array.
func TestDiskOfADeadPiGoesOnAsTheNodeThatItWas(t *testing.T) {
	o := startOffice(t, testArray)
	dead := newMember(t, o)
	stopDead := dead.start()
	dead.join(o, o.token())
	was := o.session()
	id := was.Node()
	must(t, newChunk(t, 1000).store(was))
	stopDead()
	n, own, stop := member(t, o)
	stop()
	must(t, os.RemoveAll(n.cfg.ChunkDir))
	must(t, os.Rename(dead.cfg.ChunkDir, n.cfg.ChunkDir))
	n.cfg.NewDisk = true
	n.start()
	keep := "raid-node reset-identity --keep-id"
	if s := n.now(); !strings.Contains(s.Status, keep) || !strings.Contains(s.Status, "--node "+string(id)) {
		t.Errorf("%+v", s)
	}
	_, err := n.remote().ResetIdentity(t.Context(), node.ResetOrder{})
	wantFailure(t, err, node.ExitSetRight, keep, string(own))
	_, err = n.remote().Leave(t.Context(), node.LeaveOrder{})
	wantFailure(t, err, node.ExitSetRight, keep)
	if chunkFiles(t, n) != 1 || o.removed[own] {
		t.Errorf("%d chunks are in place, removed %v", chunkFiles(t, n), o.removed)
	}
	if _, err := n.remote().ResetIdentity(t.Context(), node.ResetOrder{KeepID: true}); err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	delete(o.keys, id) // as a token for this node allows
	o.mu.Unlock()
	n.join(o, o.token())
	if s := o.session(); s.Node() != id || chunkFiles(t, n) != 1 {
		t.Errorf("it is node %s with %d chunks", s.Node(), chunkFiles(t, n))
	}
}
