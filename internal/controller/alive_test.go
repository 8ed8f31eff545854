package controller

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/service"
)

// Installing a package waits for READY, and what is installed then must answer.
func TestControllerIsNotReadyBeforeItsOwnFirstAnswer(t *testing.T) {
	var cfg Config
	newArray(t, 0, func(c *Config) { cfg = *c }).stopController()
	ready := make(chan struct{})
	cfg.StateDir, cfg.HTTPSocket, cfg.Ready = t.TempDir(), "", func() { close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := newController(cfg)
	if err == nil {
		err = c.listen(ctx)
	}
	if err == nil {
		c.catalog, err = openCatalog(ctx, &c.cfg)
	}
	if err == nil {
		err = c.build(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan net.Conn)
	go func() { // it is there before the server, and so gets the first connection
		conn, err := c.rest.Accept()
		if err != nil {
			t.Error(err)
		}
		asked <- conn
	}()
	time.Sleep(100 * time.Millisecond)
	served := make(chan error, 1)
	go func() { served <- c.serveREST(ctx) }()
	conn := <-asked
	select {
	case <-ready:
		t.Error("ready without an answer")
	case <-time.After(300 * time.Millisecond):
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // the question
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Error(err)
	}
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		t.Error("not ready after the answer")
	}
	cancel()
	if err := errors.Join(<-served, conn.Close()); err != nil {
		t.Error(err)
	}
	c.objects.Close()
	c.closeListeners()
	if err := c.catalog.Close(); err != nil {
		t.Error(err)
	}
}

// systemd kills a controller that has not ended by then, with the requests under way.
func TestDrainEndsLongBeforeSystemdsPatience(t *testing.T) {
	unit, err := os.ReadFile("../../systemd/raid-controller.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindSubmatch(unit)
	if m == nil {
		t.Fatal("the unit has no TimeoutStopSec")
	}
	if limit, err := time.ParseDuration(string(m[1]) + "s"); err != nil || drainTime+10*time.Second > limit {
		t.Errorf("it drains for %v and is killed after %v, %v", drainTime, limit, err)
	}
}

// stuck is a log in which one message is not written until free is closed.
type stuck struct {
	message     string
	there, free chan struct{}
	once        *sync.Once
}

func (s stuck) Enabled(context.Context, slog.Level) bool { return true }
func (s stuck) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s stuck) WithGroup(string) slog.Handler            { return s }

func (s stuck) Handle(_ context.Context, r slog.Record) error {
	if r.Message == s.message {
		s.once.Do(func() { close(s.there) })
		<-s.free
	}
	return nil
}

// signs is what a service manager hears.
type signs struct {
	mu     sync.Mutex
	alive  int
	status string
}

func (s *signs) take(message string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if message == "WATCHDOG=1" {
		s.alive++
	}
	if line, ok := strings.CutPrefix(message, "STATUS="); ok {
		s.status = line
	}
	return nil
}

func (s *signs) now() (alive int, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alive, s.status
}

// A part that is not asked could hang for ever, and systemd would never know.
func TestCatalogsWriterThatHangsGivesNoSignOfLife(t *testing.T) {
	log := stuck{message: "file swept", there: make(chan struct{}), free: make(chan struct{}), once: new(sync.Once)}
	var heard signs
	asked := make(chan []string, 1)
	a := newArray(t, 2, func(cfg *Config) {
		cfg.Log = slog.New(log)
		n := &service.Notifier{Log: slog.New(slog.DiscardHandler), Watchdog: 600 * time.Millisecond, Send: heard.take}
		cfg.Watch = func(ctx context.Context, parts map[string]func(context.Context) error) error {
			asked <- slices.Sorted(maps.Keys(parts))
			return n.Watch(ctx, parts)
		}
	})
	free := sync.OnceFunc(func() { close(log.free) })
	defer free()
	want := []string{"REST", "the catalog's readers", "the catalog's writer", "the list of nodes", "the memory for files", "the nodes' connections"}
	if got := <-asked; !slices.Equal(got, want) {
		t.Errorf("asked are %q, want %q", got, want)
	}
	moves := func() {
		t.Helper()
		before, _ := heard.now()
		a.eventually("signs of life", func() bool { now, _ := heard.now(); return now > before+2 })
	}
	moves()
	a.delete(a.upload(randomBytes(1000)).ID)
	<-log.there // the writer is amid a transaction
	a.eventually("the part is named", func() bool {
		_, status := heard.now()
		return strings.Contains(status, "the catalog's writer hangs")
	})
	before, _ := heard.now()
	time.Sleep(1200 * time.Millisecond)
	if after, _ := heard.now(); after != before {
		t.Errorf("%d signs of life of a writer that hangs", after-before)
	}
	free()
	moves()
}
