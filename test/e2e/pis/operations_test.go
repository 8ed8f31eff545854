//go:build nspawn

package pis

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/nspawn"
)

// recovery bounds what the array does by itself after a fault: on these hosts it is a
// matter of seconds once grace is over.
const recovery = 3 * time.Minute

// owner is somebody with docs/operations.md at hand.
type owner struct {
	*array
	page  *page
	files map[int64]cluster.Content
}

// TestOperationsByTheirPage suffers what the chapters of docs/operations.md are about,
// sees what they show, and does what they say.
func TestOperationsByTheirPage(t *testing.T) {
	t.Parallel()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	operations, err := readPage(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{array: newArray(t), page: operations, files: map[int64]cluster.Content{}}
	// Lost after seconds, and not after a quarter of an hour. A restart that took this over
	// would have file 1 of the README be another one.
	o.check(o.controller.WriteFile("/etc/raid-controller/conf.d/grace.toml", "[repair]\ngrace = \"20s\"\n"))
	o.install()
	o.join()
	o.store(20)
	o.sees("healthy")
	o.says("look", "healthy", "pi-3")

	for _, scene := range []struct {
		name string
		play func()
	}{
		{"a message is sent", o.told},
		{"a file was deleted by mistake", o.deleted},
		{"a file is corrupt", o.rotten},
		{"a Pi died", o.dead},
		{"a card is worn", o.worn},
		{"a Pi is replaced", o.replaced},
		{"the array is full", o.full},
		{"a file is lost", o.lost},
		{"a Pi moves house", o.moved},
		{"the array is switched off", o.switchedOff},
		{"two Pis died", o.twoDied},
		{"two Pis never come back", o.forsaken},
	} {
		start := time.Now()
		scene.play()
		t.Logf("%-30s %5.1f s", scene.name, time.Since(start).Seconds())
	}
	for _, name := range o.page.unused() {
		t.Errorf("nothing was done about %q of docs/operations.md", name)
	}
}

// do pastes the lines of a scene on a host. With an id the number 7 in them is that.
func (o *owner) do(h *host, scene string, id ...int64) string {
	o.t.Helper()
	return h.must(o.lines(scene, id...))
}

func (o *owner) lines(scene string, id ...int64) string {
	o.t.Helper()
	lines := o.page.scenes[scene]
	if lines == "" {
		o.t.Fatalf("docs/operations.md has no scene %q", scene)
	}
	o.page.used = append(o.page.used, scene)
	if len(id) > 0 {
		lines = regexp.MustCompile(`\b7\b`).ReplaceAllString(lines, strconv.FormatInt(id[0], 10))
	}
	return lines
}

// says pastes the lines of a scene on the controller, and wants words in what is printed.
func (o *owner) says(scene string, words ...string) string {
	o.t.Helper()
	out := o.do(o.controller, scene)
	for _, w := range words {
		if !strings.Contains(out, w) {
			o.t.Errorf("%q does not say %q:\n%s", strings.TrimSpace(o.page.scenes[scene]), w, out)
		}
	}
	return out
}

// sees waits until a command shows what the page has of it.
func (o *owner) sees(name string) {
	o.t.Helper()
	s, there := o.page.seen[name]
	if !there {
		o.t.Fatalf("docs/operations.md shows no %q", name)
	}
	o.page.used = append(o.page.used, name)
	last := ""
	until(o.t, "one sees "+name, recovery, func() bool {
		last, _ = o.controller.all(s.command)
		found, all := s.in(last)
		if all {
			o.t.Logf("%s\n%s", s.command, strings.Join(found, "\n"))
		}
		return all
	}, func() string { return fmt.Sprintf("%s\nwas to show\n%v\nand shows\n%s", s.command, s.lines, last) })
}

// off pastes a line that shuts hosts down, on each of them.
func (o *owner) off(scene string, hosts ...*host) {
	o.t.Helper()
	line := o.lines(scene)
	for _, h := range hosts {
		_, _ = h.try(line) // which ends what it runs in
	}
	for _, h := range hosts {
		o.check(h.AwaitOff(o.t.Context()))
	}
}

// store uploads some files, small ones and some of several stripes.
func (o *owner) store(n int) {
	o.t.Helper()
	for range n {
		c := cluster.Content{Seed: uint64(len(o.files) + 1), Size: int64(2000 + len(o.files)*7919)}
		if len(o.files)%5 == 4 {
			c.Size = 9 << 20
		}
		o.upload(c)
	}
}

func (o *owner) upload(c cluster.Content) int64 {
	o.t.Helper()
	created, err := o.api.Upload(o.t.Context(), fmt.Sprintf("file-%d", c.Seed), c.Reader(), c.Size)
	o.check(err)
	o.files[created.ID] = c
	return created.ID
}

// any is one of the small files.
func (o *owner) any() int64 {
	o.t.Helper()
	for id, c := range o.files {
		if c.Size < 1<<20 {
			return id
		}
	}
	o.t.Fatal("no file is small")
	return 0
}

// equal reads all files back, and wants each to have all its copies.
func (o *owner) equal() {
	o.t.Helper()
	for id, c := range o.files {
		sum, size, err := o.api.Digest(o.t.Context(), id)
		if err != nil || size != c.Size || sum != sha256.Sum256(c.Bytes()) {
			o.t.Errorf("file %d: %d bytes of %d, %v", id, size, c.Size, err)
		}
	}
	list, err := o.api.Files(o.t.Context())
	o.check(err)
	for _, f := range list {
		if f.Degraded {
			o.t.Errorf("file %d is degraded", f.ID)
		}
	}
}

// healthy waits until the array is, whatever else is said of it.
func (o *owner) healthy() {
	o.t.Helper()
	last := ""
	until(o.t, "the array is healthy", recovery, func() bool {
		last, _ = o.controller.all("raidctl status")
		return regexp.MustCompile(`(?m)^state +healthy(:|$)`).MatchString(last)
	}, func() string { return last })
}

// told has the array send messages.
func (o *owner) told() {
	o.t.Helper()
	ln, err := o.lab.Listen("8025")
	o.check(err)
	heard := &heard{}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(heard, r.Header.Get("Title"))
		_, _ = io.Copy(heard, r.Body)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	o.t.Cleanup(func() { _ = server.Close(); <-served })
	o.controller.must(strings.Replace(o.lines("message"), "https://ntfy.sh/YOUR-TOPIC", "http://"+nspawn.Gateway+":8025", 1))
	o.whole(4)
	o.do(o.controller, "try")
	until(o.t, "a message has come", recovery, func() bool {
		return strings.Contains(heard.String(), "controller: token-revoked\n") && strings.Contains(heard.String(), `revoked the REST token "try"`)
	}, heard.String, func() string {
		return o.controller.must("journalctl -n 20 -u raid-controller; cat /usr/local/bin/raid-event")
	})
}

// deleted puts a file back.
func (o *owner) deleted() {
	o.t.Helper()
	id := o.any()
	o.check(o.api.Delete(o.t.Context(), id))
	o.sees("trash")
	o.do(o.controller, "undelete", id)
	o.equal()
}

// rot changes bytes of every third chunk that a Pi holds, and returns how many.
func (o *owner) rot(pi *host) (chunks int) {
	o.t.Helper()
	out := pi.must(`for f in $(find /var/lib/raid-node/chunks -path '*/??/*' -type f -size +1k | sort | awk 'NR % 3 == 1'); do
		printf '\125\252\125' | dd of="$f" bs=1 seek=300 conv=notrunc status=none
		echo "$f"
	done`)
	return strings.Count(out, "\n")
}

// rotten has bytes change on a card.
func (o *owner) rotten() {
	o.t.Helper()
	chunks := o.rot(o.pis[0])
	o.says("scrub", "pi-1")
	o.sees("rotten")
	o.sees("wearing")
	last := ""
	until(o.t, fmt.Sprintf("%d bad chunks are told", chunks), recovery, func() bool {
		last, _ = o.controller.all("raidctl events --kind chunk-bad")
		return badChunks(last) == chunks
	}, func() string { return last })
	o.healthy()
	o.equal()
}

// comparedBad is what a comparison of a node with the catalog tells of all that it found.
var comparedBad = regexp.MustCompile(`on this node (\d+) chunks are not what was stored`)

// badChunks counts the bad chunks that events tell of. The scrub tells of each. A comparison with the
// catalog, which a node that has just joined may be going through, can be faster.
func badChunks(events string) (n int) {
	for line := range strings.Lines(events) {
		if m := comparedBad.FindStringSubmatch(line); m != nil {
			more, _ := strconv.Atoi(m[1]) // digits
			n += more
		} else if strings.Contains(line, "chunk-bad") {
			n++
		}
	}
	return n
}

// dead pulls the plug of a Pi for good.
func (o *owner) dead() {
	o.t.Helper()
	o.check(o.pis[2].Plug(o.t.Context()))
	o.sees("died")
	o.sees("survived")
	o.equal()
	o.says("dead", "pi-3")
	o.sees("healthy")
}

// worn drains a Pi whose card takes no writes any more, and takes it out.
func (o *owner) worn() {
	o.t.Helper()
	o.do(o.controller, "unplug")
	o.sees("unplug")
	o.check(o.pis[1].FailDisk())
	o.store(5) // a card that fails is noticed when it is written to
	o.sees("worn")
	o.says("wear", "pi-2", "read-only", "\nwritten ")
	o.says("drain", "pi-2")
	o.store(3)
	o.says("retire", "removed ", "(pi-2)")
	o.off("shutdown", o.pis[1])
	o.sees("healthy")
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
	o.sees("awaited")
	pi.must(line)
	o.sees("replaced")
	o.check(o.pis[3].Plug(o.t.Context()))
	o.pis = []*host{o.pis[0], pi}
	o.sees("healthy")
	o.equal()
}

// full has something else fill the cards.
func (o *owner) full() {
	o.t.Helper()
	for _, pi := range o.pis {
		o.check(pi.FillDisk(512 << 20)) // of the reserve
	}
	o.sees("full")
	// The rest of a host's card, as a Pi has it: there all is one file system.
	o.pis[0].must("fallocate -l 300M /home/films")
	if out := o.do(o.pis[0], "du"); !strings.Contains(out, "/home\n") {
		o.t.Errorf("what fills the card is not found:\n%s", out)
	}
	o.pis[0].must("rm /home/films")
	id := o.any()
	o.check(o.api.Delete(o.t.Context(), id))
	delete(o.files, id)
	o.says("empty", "gone for good")
	for _, pi := range o.pis {
		o.check(pi.EmptyDisk())
	}
	o.sees("healthy")
	o.store(1)
}

// lost has both copies of a half rot in the same place.
func (o *owner) lost() {
	o.t.Helper()
	id := o.any()
	c := o.files[id]
	info, err := o.api.Info(o.t.Context(), id)
	o.check(err)
	for _, pi := range o.pis {
		for _, name := range info.Part1 {
			pi.must("f=$(find /var/lib/raid-node/chunks -name " + name + "); [ -z \"$f\" ] || printf '\\125\\252\\125' | dd of=\"$f\" bs=1 seek=300 conv=notrunc status=none")
		}
	}
	if _, _, err := o.api.Digest(o.t.Context(), id); err == nil {
		o.t.Errorf("file %d is read although both copies of a half are rotten", id)
	}
	o.sees("lost")
	o.says("lost", fmt.Sprintf("file-%d", c.Seed))
	delete(o.files, id)
	o.upload(c)
	o.do(o.controller, "give-up", id)
	o.sees("healthy")
	o.equal()
}

// moved gives a Pi and the controller other addresses.
func (o *owner) moved() {
	o.t.Helper()
	move := func(h *host, addr string) {
		o.off("shutdown", h)
		o.check(h.WriteFile("/etc/systemd/network/10-host0.network", "[Match]\nName=host0\n[Network]\nLinkLocalAddressing=no\nAddress="+addr+"/24\n"))
		o.check(h.Boot(o.t.Context()))
	}
	move(o.pis[1], "10.99.0.45")
	o.sees("moved")
	o.addr = "10.99.0.40"
	move(o.controller, o.addr)
	o.whole(len(o.pis))
	o.do(o.pis[0], "address")
	o.whole(len(o.pis))
	o.sees("healthy")
	o.equal()
}

// switchedOff ends the array and starts it.
func (o *owner) switchedOff() {
	o.t.Helper()
	all := append(slices.Clone(o.pis), o.controller)
	o.off("off", all...)
	together(all, func(h *host) { h.check(h.Boot(o.t.Context())) })
	o.whole(len(o.pis))
	o.sees("healthy")
	o.equal()
}

// twoDied pulls the plugs of all Pis, and starts them again.
func (o *owner) twoDied() {
	o.t.Helper()
	for _, pi := range o.pis {
		o.check(pi.Plug(o.t.Context()))
	}
	o.sees("two")
	together(o.pis, func(h *host) { h.check(h.Boot(o.t.Context())) })
	o.sees("healthy")
	o.equal()
}

// forsaken takes out the Pis that have all that there is.
func (o *owner) forsaken() {
	o.t.Helper()
	for _, pi := range o.pis {
		o.check(pi.Plug(o.t.Context()))
	}
	o.sees("two")
	for _, pi := range o.pis {
		o.forsake(strings.ReplaceAll(strings.TrimSpace(o.lines("forsake")), "pi-1", pi.Name))
	}
	lines, out := o.lines("lost"), ""
	until(o.t, "all files that are lost are listed", recovery, func() bool { // once what the Pis held is looked through
		out = o.controller.must(lines)
		return strings.Count(out, "file-") == len(o.files)
	}, func() string {
		return fmt.Sprintf("of %d files that are lost these are listed:\n%s", len(o.files), out)
	})
}

// forsake answers, at a terminal, how many files are lost.
func (o *owner) forsake(line string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), recovery)
	defer cancel()
	cmd := o.controller.Prepare(ctx, nspawn.Command{Lines: "script -qec '" + line + "' /dev/null"})
	in, err := cmd.StdinPipe()
	o.check(err)
	said := &heard{}
	cmd.Stdout, cmd.Stderr = said, said
	o.check(cmd.Start())
	var number []string
	until(o.t, "it asks how many files are lost", recovery, func() bool {
		number = regexp.MustCompile(`(?s)\b(\d+) files would be LOST.*type how many`).FindStringSubmatch(said.String())
		return number != nil
	}, said.String)
	fmt.Fprintln(in, number[1])
	if err := cmd.Wait(); err != nil {
		o.t.Fatalf("%s: %v\n%s", line, err, said)
	}
}
