package controller

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/wire"
)

// middle is somebody between a node and its controller: all that they say goes
// through it.
type middle struct {
	t      *testing.T
	ln     net.Listener
	to     string
	work   sync.WaitGroup
	damage atomic.Int64 // flips a bit in one of so many writes; 0: none
	pose   *tls.Config  // speaks TLS itself to who comes; nil: passes bytes on

	mu    sync.Mutex
	heard bytes.Buffer
	conns []net.Conn
}

func stand(t *testing.T, to string, pose *tls.Config) *middle {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{t: t, ln: ln, to: to, pose: pose}
	m.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			m.work.Go(func() { m.between(c) })
		}
	})
	t.Cleanup(m.close)
	return m
}

func (m *middle) port() int { return m.ln.Addr().(*net.TCPAddr).Port }

func (m *middle) close() {
	m.ln.Close()
	m.cut()
	m.work.Wait()
}

// cut ends all connections.
func (m *middle) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Close()
	}
}

func (m *middle) between(c net.Conn) {
	defer c.Close()
	if m.pose != nil {
		c = tls.Server(c, m.pose)
	}
	up, err := net.Dial("tcp", m.to)
	if err != nil {
		return
	}
	defer up.Close()
	if m.pose != nil {
		up = tls.Client(up, &tls.Config{InsecureSkipVerify: true})
	}
	m.mu.Lock()
	m.conns = append(m.conns, c, up)
	m.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { m.pass(up, c); up.Close() })
	both.Go(func() { m.pass(c, up); c.Close() })
	both.Wait()
}

func (m *middle) pass(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			m.mu.Lock()
			m.heard.Write(b[:n])
			m.mu.Unlock()
			if d := m.damage.Load(); d > 0 && mrand.Int64N(d) == 0 {
				b[mrand.IntN(n)] ^= 1 << mrand.IntN(8)
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (m *middle) learned(secret []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Contains(m.heard.Bytes(), secret)
}

// startBehind starts a node that reaches the controller through middles alone.
func (a *array) startBehind(http *middle, ports [3]*middle) *testNode {
	n := &testNode{dir: filepath.Join(a.dir, "behind"), socket: filepath.Join(filepath.Dir(a.socket), "behind")}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := node.Run(ctx, node.Config{
			StateDir: filepath.Join(n.dir, "state"), ChunkDir: filepath.Join(n.dir, "chunks"),
			Controller: node.ControllerAddress{
				Host: "127.0.0.1", HTTPPort: http.port(), StorePort: ports[0].port(), ResponsePort: ports[1].port(), RequestPort: ports[2].port(),
			},
			ControlSocket: n.socket, Name: "behind", Plaintext: wire.PlaintextOff, Version: "test",
			Log: a.log.With("daemon", "behind"), Random: rand.Reader,
		})
		if err != nil {
			a.log.Error("node ended", "error", err)
		}
	}()
	n.stop = func() { cancel(); <-done }
	a.t.Cleanup(n.stop)
	return n
}

func TestWhoStandsBetweenNodeAndControllerLearnsAndChangesNothing(t *testing.T) {
	a := newArray(t, 0, closed)
	var ports [3]*middle
	for i := range ports {
		ports[i] = stand(t, a.port(i), nil)
	}
	http := stand(t, a.url[len("http://"):], nil)
	n := a.startBehind(http, ports)
	token := a.token(1)
	a.eventually("the node listens", func() bool { return listens(n.socket) })
	r := &node.Remote{Socket: n.socket}
	if _, err := r.Join(t.Context(), node.JoinOrder{Host: "127.0.0.1", Port: http.port(), Token: token}); err != nil {
		t.Fatal(err)
	}
	a.awaitUp(1)
	content := bytes.Repeat([]byte("nobody else's business, "), 40_000)
	id := a.upload(content).ID
	if !bytes.Equal(a.fetch(id), content) {
		t.Error("the file is another one")
	}
	secret := token[len("RAID1-")+27+9:][:26]
	for _, m := range append(ports[:], http) {
		for what, text := range map[string]string{"content": "nobody else's", "token": secret, "node's id": string(nodeIDOf(t, n))} {
			if m.learned([]byte(text)) {
				t.Errorf("who stands between learns the %s", what)
			}
		}
	}
	if !ports[0].learned([]byte{0x17, 0x03, 0x03}) {
		t.Error("nothing went through") // records of TLS
	}

	// Whatever is changed on its way ends the connection and nothing else. While
	// connections break all the time a file may be out of reach, but never another
	// one; afterwards everything that got its 201 is there.
	for _, m := range ports {
		m.damage.Store(40)
	}
	stored := []int64{id}
	for i := range 10 {
		status, f := a.tryUpload(bytes.NewReader(content))
		if status != 201 {
			continue
		}
		stored = append(stored, f.ID)
		if got := a.fetch(f.ID); got != nil && !bytes.Equal(got, content) {
			t.Errorf("upload %d came back changed", i)
		}
	}
	for _, m := range ports {
		m.damage.Store(0)
		m.cut()
	}
	a.awaitUp(1)
	for _, id := range stored {
		if !bytes.Equal(a.fetchSlowly(id), content) {
			t.Errorf("file %d is another one in the end", id)
		}
	}
}

// fetchSlowly asks again while no node is there.
func (a *array) fetchSlowly(id int64) (content []byte) {
	a.t.Helper()
	a.eventually(fmt.Sprintf("file %d comes back", id), func() bool {
		content = a.fetch(id)
		return content != nil
	})
	return content
}

// Somebody who ends TLS himself on both sides must show a certificate.
func TestWhoPosesAsTheControllerGetsNothing(t *testing.T) {
	a := joined(t, 1, closed)
	ca, err := identity.OpenCA(t.TempDir(), "0123456789abcdefghijkl", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ca.IssueController(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pose := &tls.Config{Certificates: []tls.Certificate{own}}
	var ports [3]*middle
	for i := range ports {
		ports[i] = stand(t, a.port(i), pose)
	}
	http := stand(t, a.url[len("http://"):], pose)
	n := a.startBehind(http, ports)
	token := a.token(1)
	a.eventually("the node listens", func() bool { return listens(n.socket) })
	r := &node.Remote{Socket: n.socket}
	_, err = r.Join(t.Context(), node.JoinOrder{Host: "127.0.0.1", Port: http.port(), Token: token})
	if err == nil || !strings.Contains(err.Error(), "Nothing was sent") {
		t.Errorf("it joins who poses: %v", err)
	}
	if status, text := a.root("GET", "/join-tokens", ""); status != 200 || !strings.Contains(text, `"left":1`) {
		t.Errorf("a use is spent: %s", text)
	}

	// A node that has joined the true one does not speak with it either.
	n.stop()
	a.nodes[0].stop()
	for _, sub := range []string{"state", "chunks"} {
		if err := os.Rename(filepath.Join(a.nodes[0].dir, sub), filepath.Join(a.dir, "moved-"+sub)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(n.dir, sub)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(a.dir, "moved-"+sub), filepath.Join(n.dir, sub)); err != nil {
			t.Fatal(err)
		}
	}
	n = a.startBehind(http, ports)
	a.eventually("the node says why", func() bool {
		s, err := (&node.Remote{Socket: n.socket}).Status(t.Context())
		return err == nil && strings.Contains(s.Status, "is this the controller of array")
	})
	if a.nodesIn("up") != 0 {
		t.Error("it got through")
	}
	for _, m := range append(ports[:], http) {
		if m.learned(nil) && m.learned([]byte("RAID1")) {
			t.Error("it learned the token")
		}
	}
}
