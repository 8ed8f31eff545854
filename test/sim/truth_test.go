package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// notice bounds the time until the controller sees that a machine is off.
const notice = 10 * time.Second

// nodeView is the array's word on a node.
type nodeView struct {
	ID       raid.NodeID
	State    string
	Draining bool
}

// there is raid.NodeInfo.IsThere.
func (n nodeView) there() bool { return raid.NodeInfo{State: raid.NodeState(n.State)}.IsThere() }

// unplugged is the answer to whether a node may be unplugged.
type unplugged struct {
	Safe bool
	Text string
}

// inspect asks how the array is, and of each machine whether it may be unplugged, and
// compares the answers with the machines and their disks.
func (w *world) inspect() {
	files, off := w.acknowledged(), w.offFor()
	before, ok := w.clients[0].nodes()
	if !ok {
		return
	}
	s, ok := w.clients[0].status()
	if !ok {
		return
	}
	answers := map[*pi]unplugged{}
	for _, p := range w.pis {
		if n, known := before[p]; known && n.there() {
			if a, ok := w.clients[0].unplug(n.ID); ok {
				answers[p] = a
			}
		}
	}
	after, ok := w.clients[0].nodes()
	if !ok || !maps.Equal(before, after) {
		return // nodes came or went meanwhile, so that the answers speak of several moments
	}
	w.checkStates(s, before, off)
	copies, err := w.goodCopies(files)
	w.must(err)
	there := func(p *pi) bool { return before[p].there() }
	for _, f := range files {
		w.checkHealth(f, s, copies[f], there)
		for p, a := range answers {
			if a.Safe && !anyMarked(copies[f]) && readable(copies[f], there) && !readable(copies[f], func(q *pi) bool { return q != p && there(q) }) {
				w.model.fault("%s may be unplugged, it was said (%s), and without it %s (file %d) can't be read: %v", p.name, a.Text, f.name, f.id, copies[f])
			}
		}
	}
}

// acknowledged are the files that are there, and that nobody has tried to delete.
func (w *world) acknowledged() (files []*file) {
	w.model.mu.Lock()
	defer w.model.mu.Unlock()
	for _, f := range w.model.files {
		if f.id != 0 && !f.doomed {
			files = append(files, f)
		}
	}
	return files
}

// offFor returns for how long each machine of the array has been off; those that run are not in it.
func (w *world) offFor() map[*pi]time.Duration {
	off := map[*pi]time.Duration{}
	for _, p := range w.pis {
		if !p.running && !p.removed {
			off[p] = w.now() - p.offAt
		}
	}
	return off
}

// checkStates compares what is said of the array with the machines that are off.
func (w *world) checkStates(s status, nodes map[*pi]nodeView, off map[*pi]time.Duration) {
	for p, d := range off {
		n, known := nodes[p]
		if !known || d < notice {
			continue
		}
		if n.there() {
			w.model.fault("%s has been off for %v, and is said to be %s", p.name, d, n.State)
		}
		if s.Health == string(raid.Healthy) && w.now()-p.awayAt < grace {
			w.model.fault("%s has been off for %v, and the array calls itself healthy", p.name, d)
		}
	}
	if s.Health == string(raid.DataLost) && !w.failedDisk {
		w.model.fault("nothing is lost, and the array says so: %s", s.HealthText)
	}
}

// checkHealth compares what is said of the array with the copies of one file's parts.
func (w *world) checkHealth(f *file, s status, parts map[partKey]partCopies, there func(*pi) bool) {
	if s.FilesUnreadable == 0 && !readable(parts, there) {
		w.model.fault("%s (file %d) can't be read, and it is said that every file can: %v", f.name, f.id, parts)
	}
	if s.Health != string(raid.Healthy) {
		return
	}
	for key, c := range parts {
		n := 0
		for p := range c.on {
			n += truth(there(p))
		}
		if n < 2 {
			w.model.fault("part %+v of %s has good copies on %v, %d of which are there, and the array calls itself healthy", key, f.name, c, n)
		}
	}
}

// partCopies are the copies of a part.
type partCopies struct {
	on     map[*pi]bool // machines that have a good one on their disk
	marked bool         // the catalog has given one up, so that others count for more
}

func truth(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (c partCopies) String() string {
	var names []string
	for p := range c.on {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// readable reports whether each part has a good copy on a machine that is there. Where
// the catalog has given up a copy, it has said that it counts less.
func readable(parts map[partKey]partCopies, there func(*pi) bool) bool {
	for _, c := range parts {
		ok := c.marked
		for p := range c.on {
			ok = ok || there(p)
		}
		if !ok {
			return false
		}
	}
	return true
}

// anyMarked reports whether the catalog has given up a copy of some part. Then it knows less
// good ones than there are.
func anyMarked(parts map[partKey]partCopies) bool {
	for _, c := range parts {
		if c.marked {
			return true
		}
	}
	return false
}

// goodCopies looks on all disks for the parts of files. Bits that have flipped count as
// good: nobody may have found them yet.
func (w *world) goodCopies(files []*file) (map[*file]map[partKey]partCopies, error) {
	disks := map[*pi]map[raid.ChunkName]string{}
	for _, p := range w.pis {
		if p.gone && w.now()-p.offAt >= notice {
			continue
		}
		found, err := p.chunksOf()
		if err != nil {
			return nil, err
		}
		disks[p] = found
	}
	rows, err := w.readCatalog()
	byID, all := map[int64]*file{}, map[*file]map[partKey]partCopies{}
	for _, f := range files {
		byID[f.id], all[f] = f, map[partKey]partCopies{}
	}
	for _, r := range rows {
		f := byID[r.file]
		if f == nil {
			continue
		}
		c := all[f][r.key()]
		if c.on == nil {
			c.on = map[*pi]bool{}
		}
		c.marked = c.marked || r.flaw == 1
		for p, found := range disks {
			if path, ok := found[r.name]; ok {
				b, err := os.ReadFile(path)
				if p.rottens[string(r.name)] || err == nil && bytes.HasPrefix(b, f.part(r.stripe, r.part)) {
					c.on[p] = true
				}
			}
		}
		all[f][r.key()] = c
	}
	return all, err
}

// nodes asks for all nodes, by their machines.
func (c *client) nodes() (map[*pi]nodeView, bool) {
	a := c.ask(http.MethodGet, "/nodes", nil)
	var got struct{ Nodes []nodeView }
	if a.status != http.StatusOK || json.Unmarshal(a.body, &got) != nil {
		return nil, false
	}
	byID := map[raid.NodeID]nodeView{}
	for _, n := range got.Nodes {
		byID[n.ID] = n
	}
	found := map[*pi]nodeView{}
	for _, p := range c.w.pis {
		id, err := p.node()
		if n, known := byID[raid.NodeID(id)]; known && err == nil {
			found[p] = n
		}
	}
	return found, true
}

// drain is what is said of a node that drains; empty: it does not, or no answer came.
func (c *client) drain(id string) string {
	a := c.ask(http.MethodGet, "/nodes/"+id, nil)
	var got struct{ Drain string }
	if a.status != http.StatusOK || json.Unmarshal(a.body, &got) != nil {
		return ""
	}
	return got.Drain
}

func (c *client) unplug(id raid.NodeID) (u unplugged, ok bool) {
	a := c.ask(http.MethodGet, "/nodes/"+string(id)+"/unplug", nil)
	return u, a.status == http.StatusOK && json.Unmarshal(a.body, &u) == nil
}
