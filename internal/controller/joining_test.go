package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// closed is a controller that lets in nobody without TLS.
func closed(c *Config) { c.Plaintext, c.Auth = wire.PlaintextOff, true }

// token makes a join token as root does.
func (a *array) token(uses int) string {
	a.t.Helper()
	status, text := a.root("POST", "/join-tokens", fmt.Sprintf(`{"uses": %d}`, uses))
	var k struct{ Token string }
	if err := json.Unmarshal([]byte(text), &k); err != nil || status != 201 {
		a.t.Fatalf("%d %s", status, text)
	}
	return k.Token
}

func (a *array) join(n *testNode, token string) (*node.Done, error) {
	a.t.Helper()
	r := &node.Remote{Socket: n.socket}
	a.eventually("the node listens on its control socket", func() bool { return listens(n.socket) })
	return r.Join(a.t.Context(), node.JoinOrder{Host: "127.0.0.1", Port: a.httpPort(), Token: token})
}

// joined starts an array of nodes that have joined.
func joined(t *testing.T, nodes int, tune func(*Config)) *array {
	t.Helper()
	a := newArray(t, 0, tune)
	token := a.token(nodes)
	for range nodes {
		n := a.addNode("")
		if _, err := a.join(n, token); err != nil {
			t.Fatal(err)
		}
	}
	a.awaitUp(nodes)
	return a
}

func (a *array) ids() (ids []string) {
	var got struct{ Nodes []struct{ ID, Name string } }
	a.getJSON("/nodes", &got)
	for _, n := range got.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// fetch is a whole file, nil when it can't be had, or breaks off.
func (a *array) fetch(id int64) []byte {
	resp, err := http.Get(fmt.Sprintf("%s/files/%d", a.url, id))
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return b
}

func TestJoinedNodesOutliveEverybodysRestart(t *testing.T) {
	a := joined(t, 3, closed)
	content := bytes.Repeat([]byte("raid"), 300_000)
	id := a.upload(content).ID
	a.stopController()
	for _, n := range a.nodes {
		n.stop()
	}
	a.startController()
	for _, n := range a.nodes {
		a.startNode(n, "")
	}
	a.awaitUp(3)
	if !bytes.Equal(a.fetch(id), content) {
		t.Error("the file is another one")
	}
	if _, err := a.join(a.nodes[0], a.token(1)); err != nil {
		t.Errorf("joining again: %v", err)
	}
	if status, text := a.root("GET", "/join-tokens", ""); status != 200 || !strings.Contains(text, `"left":1`) {
		t.Errorf("joining again has spent a use: %s", text)
	}
}

// Keys change and a node is put out while files are stored and read.
func TestRotationAndRemovalDisturbNobodyElse(t *testing.T) {
	a := joined(t, 4, closed)
	content := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	first := a.upload(content).ID
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done, failed int
	var mu sync.Mutex
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, f := a.tryUpload(bytes.NewReader(content))
				same := status == 201 && bytes.Equal(a.fetch(f.ID), content) && bytes.Equal(a.fetch(first), content)
				mu.Lock()
				if done++; !same {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	keys := func() (all []string) {
		for _, n := range a.nodes {
			b, err := os.ReadFile(filepath.Join(n.dir, "state", "identity", "node.pem"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(b))
		}
		return all
	}
	before, ids := keys(), a.ids()
	for _, id := range ids {
		if status, text := a.root("POST", "/nodes/"+id+"/rotate", ""); status != 200 {
			t.Errorf("%d %s", status, text)
		}
	}
	a.eventually("all have new keys", func() bool {
		for i, k := range keys() {
			if k == before[i] {
				return false
			}
		}
		return true
	})
	// Each takes its new key up with its next connection.
	a.nodes[0].stop()
	a.startNode(a.nodes[0], "")
	a.awaitUp(4)

	victim := a.ids()[3]
	if status, text := a.root("DELETE", "/nodes/"+victim, ""); status != 409 || !strings.Contains(text, "force") {
		t.Errorf("a node with chunks goes just so: %d %s", status, text)
	}
	if status, text := a.root("DELETE", "/nodes/"+victim+"?force=1", ""); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	a.eventually("it is not listed any more", func() bool { return len(a.ids()) == 3 })
	a.saysThatItWasRemoved(victim)
	a.awaitUp(3)
	close(stop)
	wg.Wait()
	if failed > 0 || done < 3 {
		t.Errorf("%d of %d rounds failed", failed, done)
	}
	// What it held is made anew, and nothing is degraded in the end.
	a.eventually("repaired", func() bool {
		var s struct {
			Degraded int `json:"degraded_files"`
		}
		a.getJSON("/status", &s)
		return s.Degraded == 0
	})
	if !bytes.Equal(a.fetch(first), content) {
		t.Error("the first file is another one")
	}
	time.Sleep(300 * time.Millisecond)
	if len(a.ids()) != 3 {
		t.Error("the removed node is back")
	}
	a.stopController()
	a.startController()
	a.awaitUp(3)
	if ids := a.ids(); len(ids) != 3 {
		t.Errorf("after a restart: %v", ids)
	}
}

// An older catalog does not know who has joined since: it lets nobody in whom it
// does not know, and says what to do.
func TestCatalogWithoutAMemberSaysHowToLetItInAgain(t *testing.T) {
	a := newArray(t, 0, closed)
	a.stopController()
	old, err := os.ReadFile(filepath.Join(a.dir, "controller", CatalogFile))
	if err != nil {
		t.Fatal(err)
	}
	a.startController()
	n := a.addNode("")
	if _, err := a.join(n, a.token(1)); err != nil {
		t.Fatal(err)
	}
	a.stopController()
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.RemoveAll(filepath.Join(a.dir, "controller", CatalogFile+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "controller", CatalogFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	a.startController()
	id := nodeIDOf(t, n)
	status, text := a.root("POST", "/join-tokens", fmt.Sprintf(`{"node": %q}`, id))
	var k struct{ Token string }
	if err := json.Unmarshal([]byte(text), &k); err != nil || status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	if _, err := a.join(n, k.Token); err != nil {
		t.Fatal(err)
	}
	a.awaitUp(1)
}

// With another CA all nodes would be strangers, so its loss is said at the start;
// and a new one costs nobody its id or its chunks.
func TestLostCAIsNotReplacedInSilenceAndCostsNoFile(t *testing.T) {
	newCA := false
	a := joined(t, 2, func(c *Config) { closed(c); c.NewCA = newCA })
	content := bytes.Repeat([]byte("still here"), 50_000)
	id := a.upload(content).ID
	before := a.ids()
	a.stopController()
	if err := os.RemoveAll(filepath.Join(a.dir, "controller", "identity")); err != nil {
		t.Fatal(err)
	}
	err := a.tryController()
	if !errors.Is(err, identity.ErrDamaged) || !strings.Contains(err.Error(), "systemctl stop raid-controller; sudo -u raid-controller raid-controller --new-ca") ||
		!strings.Contains(err.Error(), "Ctrl-C") || !strings.Contains(err.Error(), "systemctl start raid-controller") {
		t.Fatalf("the controller starts without its CA: %v", err)
	}
	newCA = true
	a.startController()
	a.eventually("the nodes say that they are not let in", func() bool {
		s, err := (&node.Remote{Socket: a.nodes[0].socket}).Status(t.Context())
		return err == nil && strings.Contains(s.Status, "is this the controller of array")
	})
	token := a.token(2)
	for _, n := range a.nodes {
		if _, err := a.join(n, token); err != nil {
			t.Fatal(err)
		}
	}
	a.awaitUp(2)
	if now := a.ids(); !slices.Equal(now, before) || !bytes.Equal(a.fetch(id), content) {
		t.Errorf("the nodes are %v, and were %v", now, before)
	}
	a.stopController()
	newCA = false
	a.startController()
	a.awaitUp(2)
}

func nodeIDOf(t *testing.T, n *testNode) raid.NodeID {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "state", "raid-node.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Node raid.NodeID }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m.Node
}

// saysThatItWasRemoved looks at the status of a node, which has to tell its owner.
func (a *array) saysThatItWasRemoved(id string) {
	a.t.Helper()
	for _, n := range a.nodes {
		if string(nodeIDOf(a.t.(*testing.T), n)) != id {
			continue
		}
		var s *node.Status
		a.eventually("the node knows that it was removed", func() (gone bool) {
			var err error
			s, err = node.Remote{Socket: n.socket}.Status(a.t.Context())
			return err == nil && s.Removed
		})
		if s.Joined || !strings.Contains(s.Status, "was removed from array") || !strings.Contains(s.Status, "sudo raid-node reset-identity") {
			a.t.Errorf("%+v", s)
		}
	}
}

// listens reports whether a node takes orders: its socket is there a moment before.
func listens(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
