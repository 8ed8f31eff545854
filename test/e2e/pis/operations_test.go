//go:build nspawn

package pis

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// recovery bounds what the array does by itself after a fault: on these hosts it is a
// matter of seconds once grace is over.
const recovery = 3 * time.Minute

// owner is somebody with docs/operations.md at hand.
type owner struct {
	*array
	pasted []string
	files  map[int64]cluster.Content
}

// do pastes the lines of a scene on a host.
func (o *owner) do(h *host, scene string) string {
	o.t.Helper()
	lines := setting.operations[scene]
	if lines == "" {
		o.t.Fatalf("docs/operations.md has no scene %q", scene)
	}
	o.pasted = append(o.pasted, scene)
	return h.must(lines)
}

// says pastes the lines of a scene on the controller, and wants words in what is printed.
func (o *owner) says(scene string, words ...string) string {
	o.t.Helper()
	out := o.do(o.controller, scene)
	for _, w := range words {
		if !strings.Contains(out, w) {
			o.t.Errorf("%q does not say %q:\n%s", strings.TrimSpace(setting.operations[scene]), w, out)
		}
	}
	return out
}

// store uploads some files, small ones and one of several stripes.
func (o *owner) store(n int) {
	o.t.Helper()
	for range n {
		c := cluster.Content{Seed: uint64(len(o.files) + 1), Size: int64(1000 + len(o.files)*7919)}
		if len(o.files)%5 == 4 {
			c.Size = 9 << 20
		}
		created, err := o.api.Upload(o.t.Context(), fmt.Sprintf("file-%d", c.Seed), c.Reader(), c.Size)
		o.check(err)
		o.files[created.ID] = c
	}
}

// equal reads all files back.
func (o *owner) equal() {
	o.t.Helper()
	for id, c := range o.files {
		sum, size, err := o.api.Digest(o.t.Context(), id)
		if err != nil || size != c.Size || sum != sha256.Sum256(c.Bytes()) {
			o.t.Errorf("file %d: %d bytes of %d, %v", id, size, c.Size, err)
		}
	}
}

// health waits until the array's health is one of these words.
func (o *owner) health(words ...string) {
	o.t.Helper()
	last := ""
	until(o.t, "the array is "+strings.Join(words, " or "), recovery, func() bool {
		last, _ = o.controller.all("raidctl status --json")
		m := regexp.MustCompile(`"health": *"([a-z-]+)"`).FindStringSubmatch(last)
		return m != nil && slices.Contains(words, m[1])
	}, func() string { return last })
}

// event waits until raidctl events tells of something.
func (o *owner) event(words string) {
	o.t.Helper()
	last := ""
	until(o.t, "an event says "+words, recovery, func() bool {
		last, _ = o.controller.all("raidctl events --since 1h")
		return strings.Contains(last, words)
	}, func() string { return last })
}

// rot changes a byte of every second chunk that a Pi holds.
func (o *owner) rot(pi *host) {
	o.t.Helper()
	pi.must(`for f in $(find /var/lib/raid-node/chunks -path '*/??/*' -type f -size +1k | sort | awk 'NR % 2'); do
		printf '\125\252\125' | dd of="$f" bs=1 seek=300 conv=notrunc status=none
	done`)
}

// TestOperationsByTheirPage suffers what the chapters of docs/operations.md are about, and
// does what they say.
func TestOperationsByTheirPage(t *testing.T) {
	t.Parallel()
	o := &owner{array: newArray(t), files: map[int64]cluster.Content{}}
	// Lost after seconds, and not after a quarter of an hour.
	o.check(o.controller.WriteFile("/etc/raid-controller/conf.d/grace.toml", "[repair]\ngrace = \"15s\"\n"))
	o.install()
	o.join()
	o.store(20)
	o.health("healthy")
	o.says("look", "healthy", "pi-3")

	o.rotten()
	o.dead()
	o.worn()
	o.replaced()
	o.full()
	o.twoDied()
	o.switchedOff()
	o.equal()
	for scene := range setting.operations {
		if !slices.Contains(o.pasted, scene) {
			t.Errorf("nobody has pasted the scene %q", scene)
		}
	}
}

// rotten has bytes change on a card.
func (o *owner) rotten() {
	o.t.Helper()
	o.rot(o.pis[0])
	o.says("scrub", "pi-1")
	o.event("pi-1")
	o.event("rotten")
	o.health("healthy")
	o.equal()
}

// dead pulls the plug of a Pi for good.
func (o *owner) dead() {
	o.t.Helper()
	o.check(o.pis[2].Plug(o.t.Context()))
	o.health("degraded", "healing")
	o.event("pi-3")
	o.health("healthy")
	o.degradedNone()
	o.equal()
	o.says("dead", "pi-3")
	o.health("healthy")
}

// degradedNone checks that each file says of itself that it has all its copies.
func (o *owner) degradedNone() {
	o.t.Helper()
	list, err := o.api.Files(o.t.Context())
	o.check(err)
	for _, f := range list {
		if f.Degraded {
			o.t.Errorf("file %d is degraded", f.ID)
		}
	}
}

// worn drains a Pi with a worn card, and takes it out.
func (o *owner) worn() {
	o.t.Helper()
	o.says("unplug", "pi-2")
	o.says("wear", "pi-2")
	o.says("drain", "pi-2")
	o.store(3)
	o.says("retire", "pi-2")
	o.check(o.pis[1].Plug(o.t.Context()))
	o.health("healthy")
	o.equal()
}

// replaced puts another Pi in the place of one that works.
func (o *owner) replaced() {
	o.t.Helper()
	pi := o.add("pi-5", "10.99.0.15", nil)
	boot(o.t, pi)
	pi.paste("apt")
	pi.paste("node")
	line := o.do(o.controller, "replace")
	if strings.Count(line, "\n") != 1 {
		o.t.Fatalf("what is to be pasted is %q", line)
	}
	pi.must(line)
	until(o.t, "pi-4 is forgotten", recovery, func() bool {
		list, _ := o.controller.all("raidctl node ls")
		return !strings.Contains(list, "pi-4") && strings.Contains(list, "pi-5")
	}, func() string { out, _ := o.controller.all("raidctl node ls; raidctl status"); return out })
	o.check(o.pis[3].Plug(o.t.Context()))
	o.pis = []*host{o.pis[0], pi}
	o.health("healthy")
	o.equal()
}

// full empties the trash.
func (o *owner) full() {
	o.t.Helper()
	for id := range o.files {
		o.check(o.api.Delete(o.t.Context(), id))
		delete(o.files, id)
		break
	}
	o.says("empty", "1 file")
}

// twoDied pulls the plugs of all Pis, and starts them again.
func (o *owner) twoDied() {
	o.t.Helper()
	for _, pi := range o.pis {
		o.check(pi.Plug(o.t.Context()))
	}
	o.health("at-risk")
	o.do(o.controller, "lost")
	for _, pi := range o.pis {
		o.check(pi.Boot(o.t.Context()))
	}
	o.health("healthy")
	o.equal()
}

// switchedOff ends the array and starts it, and moves a Pi.
func (o *owner) switchedOff() {
	o.t.Helper()
	for _, h := range append(slices.Clone(o.pis), o.controller) {
		o.pasted = append(o.pasted, "off")
		_, _ = h.try(setting.operations["off"]) // which ends what it runs in
		o.check(h.AwaitOff(o.t.Context()))
	}
	together(append(slices.Clone(o.pis), o.controller), func(h *host) { h.check(h.Boot(o.t.Context())) })
	o.whole(len(o.pis))
	o.do(o.pis[0], "moved")
	o.whole(len(o.pis))
	o.health("healthy")
}
