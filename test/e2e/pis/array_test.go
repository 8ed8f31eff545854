//go:build nspawn

package pis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/nspawn"
)

// array is six hosts: a controller, four Pis and a laptop.
type array struct {
	*setUp
	controller, laptop *host
	pis                []*host
	addr               string // of the controller
	key                string // the laptop's access token
	api                *cluster.API
}

const controllerAddr = "10.99.0.10"

func newArray(t *testing.T) *array {
	t.Helper()
	a := &array{setUp: newLab(t), addr: controllerAddr}
	// Its owner has not called it controller yet.
	a.controller = a.add("controller", controllerAddr, func(c *nspawn.HostConfig) { c.Files["/etc/hostname"] = "raspberrypi\n" })
	for i := range 4 {
		a.pis = append(a.pis, a.add(fmt.Sprintf("pi-%d", i+1), fmt.Sprintf("10.99.0.%d", 11+i), nil))
	}
	a.laptop = a.add("laptop", "10.99.0.20", nil)
	boot(t, a.all()...)
	return a
}

func (a *array) all() []*host { return append([]*host{a.controller, a.laptop}, a.pis...) }

// install is the README, up to the last program on the last host.
func (a *array) install() {
	a.t.Helper()
	together(a.all(), func(h *host) { h.paste("apt") })
	start := time.Now()
	a.controller.paste("controller")
	a.t.Logf("raid-controller is installed and active after %.1f s", time.Since(start).Seconds())
	a.active(a.controller, "raid-controller")
	start = time.Now()
	together(append([]*host{a.laptop}, a.pis...), func(h *host) {
		if h == a.laptop {
			h.paste("laptop-install")
			return
		}
		h.paste("node")
		a.active(h, "raid-node")
	})
	a.t.Logf("raid-node on four Pis at once, and raidctl on the laptop: %.1f s", time.Since(start).Seconds())
}

func (a *array) active(h *host, unit string) {
	a.t.Helper()
	if state := h.property(unit, "ActiveState"); state != "active" {
		a.t.Errorf("%s on %s is %s", unit, h.Name, state)
	}
}

// join is the README from the invitation to the laptop's first files.
func (a *array) join() {
	a.t.Helper()
	line := a.controller.paste("invite")
	token := regexp.MustCompile(`RAID1-[0-9A-Z-]+`).FindString(line)
	if strings.Count(line, "\n") != 1 || token == "" {
		a.t.Fatalf("what is to be pasted is %q", line)
	}
	for i, pi := range a.pis {
		if out, want := pi.must(line), fmt.Sprintf("Joined as %s (%d/%d nodes)", pi.Name, i+1, i+1); !strings.Contains(out, want) {
			a.t.Errorf("%s says %q, want %q", pi.Name, out, want)
		}
	}
	a.key = regexp.MustCompile(`raidpi_[A-Za-z0-9_]+`).FindString(a.controller.paste("access"))
	a.login()
	photo := cluster.Content{Seed: 7, Size: 9 << 20}
	a.check(a.laptop.WriteFile("/root/photo.jpg", string(photo.Bytes())))
	if out := a.laptop.paste("laptop"); !strings.Contains(out, "photo.jpg") {
		a.t.Errorf("listed: %q", out)
	}
	a.laptop.must("export RAID_TOKEN=" + a.key + "\n" + setting.readme["curl"])
	a.laptop.must("cmp photo.jpg copy.jpg")
	a.connect()
	a.whole(4)
}

func (a *array) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// login answers raidctl's question at a terminal. The token says who the controller is.
func (a *array) login() {
	a.t.Helper()
	want := strings.TrimSpace(a.controller.must("sudo raidctl fingerprint"))
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	// script(1) gives the command a terminal.
	cmd := a.laptop.Prepare(ctx, nspawn.Command{Lines: "script -qec '" + strings.TrimSpace(setting.readme["login"]) + "' /dev/null"})
	in, err := cmd.StdinPipe()
	a.check(err)
	said := &heard{}
	cmd.Stdout, cmd.Stderr = said, said
	a.check(cmd.Start())
	answer := func(question, text string) {
		until(a.t, "raidctl asks "+question, patience, func() bool { return strings.Contains(said.String(), question) })
		fmt.Fprintln(in, text)
	}
	answer("Token (not shown", a.key)
	if err := cmd.Wait(); err != nil {
		a.t.Fatalf("login: %v\n%s", err, said)
	}
	if stored := a.laptop.must("cat ~/.config/raidctl/login.json"); !strings.Contains(stored, want) {
		a.t.Fatalf("the login is not for the controller with fingerprint %s: %s", want, stored)
	}
}

// heard holds what a program has said so far.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// bearer adds the laptop's token.
type bearer struct {
	key  string
	next http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.key)
	return b.next.RoundTrip(r)
}

// connect lets the test itself look at the array, as another laptop would.
func (a *array) connect() {
	a.t.Helper()
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(a.laptop.must("cat raidpi-ca.pem"))) {
		a.t.Fatal("raidctl ca printed no certificate")
	}
	t := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return a.lab.Dial(ctx, network, net.JoinHostPort(a.addr, "9000"))
		},
		ResponseHeaderTimeout: patience,
	}
	a.t.Cleanup(t.CloseIdleConnections)
	a.api = &cluster.API{URL: "https://controller.local:9000", HTTP: &http.Client{Transport: bearer{a.key, t}}}
}

// whole waits until so many nodes are up.
func (a *array) whole(nodes int) {
	a.t.Helper()
	var last string
	until(a.t, fmt.Sprintf("%d nodes are up", nodes), patience, func() bool {
		ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Second)
		defer cancel()
		list, err := a.api.Nodes(ctx)
		up := 0
		for _, n := range list {
			if n.State == "up" {
				up++
			}
		}
		if now := fmt.Sprintf("%d nodes up, %v", up, err); now != last {
			last = now
			a.t.Log(now)
		}
		return up == nodes
	})
}

// nodeID returns the id of a node by its own word.
func nodeID(h *host) string {
	h.t.Helper()
	id := regexp.MustCompile(`"node": *"([^"]+)"`).FindStringSubmatch(h.must("cat /var/lib/raid-node/chunks/raid-node.json"))
	if id == nil {
		h.t.Fatalf("the chunk directory of %s does not say whose it is", h.Name)
	}
	return id[1]
}

// TestSixHostsByTheREADME installs an array as the README says, and stores files while
// everything happens that can happen to Pis. What was answered with 201 is there in the
// end.
func TestSixHostsByTheREADME(t *testing.T) {
	a := newArray(t)
	a.install()
	a.join()
	t.Parallel()               // the figures above are those of a quiet machine
	for _, pi := range a.pis { // nothing of the packages was changed by joining
		if changed, status := pi.all("dpkg -V raid-node"); changed != "" || status != 0 {
			t.Errorf("dpkg -V raid-node on %s: %s", pi.Name, changed)
		}
	}
	a.onlyItsPorts()
	a.idle()
	if *idleOnly {
		return
	}

	files := startTraffic(a.laptop, a.key)
	defer files.stop()
	a.nodeFaults(files)
	a.powerLosses(files)
	a.controllerFaults(files)
	a.upgrade(files)
	a.downgrade(files)
	a.removeAndPurge(files)
	files.stop()
	a.whole(4)
	files.readBack(t, a.api)
	a.nothingCrashed()
}
