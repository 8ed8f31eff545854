package controller

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// mistaken is an array of two nodes and files, whose controller was started with
// an older catalog while both nodes were away, and a third and new one was there.
type mistaken struct {
	*array
	first, later         info
	firstData, laterData []byte
	newest               map[string][]byte
}

func newMistaken(t *testing.T, settle time.Duration) *mistaken {
	t.Helper()
	m := &mistaken{array: newArray(t, 2, func(c *Config) { c.Settle = settle }), firstData: randomBytes(10_000), laterData: randomBytes(20_000)}
	m.first = m.upload(m.firstData)
	old := m.saveCatalog()
	m.later = m.upload(m.laterData)
	for _, n := range m.nodes {
		n.stop()
	}
	m.stopController()
	m.newest = m.readCatalog()
	m.restoreCatalog(old)
	m.startController()
	m.addNode("")
	m.awaitUp(1)
	return m
}

// come starts the nodes that know better.
func (m *mistaken) come() {
	m.t.Helper()
	for _, n := range m.nodes[:2] {
		m.startNode(n, "")
	}
	m.awaitUp(3)
	if s, i := m.tryUpload(bytes.NewReader(m.firstData)); s != http.StatusServiceUnavailable {
		m.t.Fatalf("the older catalog takes an upload: %d %+v", s, i)
	}
}

// putNewest does what the message asks for.
func (m *mistaken) putNewest() {
	m.t.Helper()
	m.stopController()
	m.restoreCatalog(m.newest)
	m.startController()
	m.awaitUp(3)
}

func (m *mistaken) works() {
	m.t.Helper()
	if i := m.upload(m.firstData); i.Degraded {
		m.t.Error("degraded with three nodes")
	}
	m.mustEqual(m.first.ID, m.firstData)
	m.mustEqual(m.later.ID, m.laterData)
	if s := m.delete(m.first.ID); s != http.StatusOK {
		m.t.Errorf("delete: %d", s)
	}
}

// A node that knows nothing must not learn from an older catalog what the newest
// one does not know, nor get a chunk of it.
func TestAfterAnOlderCatalogTheNewestWorksAgain(t *testing.T) {
	m := newMistaken(t, 8*time.Second)
	status := make(chan int)
	go func() {
		s, _ := m.tryUpload(bytes.NewReader(m.firstData))
		status <- s
	}()
	time.Sleep(2 * time.Second) // some heartbeats
	if n := len(m.nodes[2].chunks()); n != 0 {
		t.Errorf("the new node holds %d chunks of an older catalog", n)
	}
	m.come()
	if s := <-status; s != http.StatusServiceUnavailable {
		t.Errorf("an upload that had to wait: %d", s)
	}
	m.putNewest()
	m.works()
}

// When the older catalog was in use for longer, an operator can still choose.
func TestWhatAnOlderCatalogStoredCanBeGivenUp(t *testing.T) {
	m := newMistaken(t, 100*time.Millisecond)
	mistake := m.upload(randomBytes(1000))
	time.Sleep(time.Second)
	m.come()
	m.putNewest()
	s, i := m.tryUpload(bytes.NewReader(m.firstData))
	number := regexp.MustCompile(`commit (\d+)`).FindStringSubmatch(i.Message)
	if s != http.StatusServiceUnavailable || number == nil {
		t.Fatalf("the newest catalog, of which a node has seen too much: %d %q", s, i.Message)
	}
	commit, err := strconv.ParseUint(number[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	m.stopController()
	cfg := Config{StateDir: filepath.Join(m.dir, "controller"), Log: m.log, Random: rand.Reader}
	if err := ForgetCommits(context.Background(), cfg, commit); err != nil {
		t.Fatal(err)
	}
	m.startController()
	m.awaitUp(3)
	m.works()
	if id := m.upload(m.firstData).ID; id <= mistake.ID {
		t.Errorf("id %d, of which the older catalog may have made another file", id)
	}
}

// Known nodes that stay away keep nobody waiting for longer than settle.
func TestAControllerThatKnowsANodeThatIsGoneWorks(t *testing.T) {
	a := newArray(t, 3, func(c *Config) { c.Settle = time.Second })
	b := randomBytes(100_000)
	id := a.upload(b).ID
	a.nodes[0].stop()
	a.stopController()
	a.startController()
	a.awaitUp(2)
	began := time.Now()
	if i := a.upload(b); i.Degraded {
		t.Error("degraded with two nodes")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the upload took %v", took)
	}
	a.mustEqual(id, b)
}
