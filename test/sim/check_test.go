package sim

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// healTime bounds the time until the array is as it should be, once nothing goes wrong any more.
const healTime = 20 * time.Minute

// heal ends all faults and waits until the array says that it is as it should be.
func (w *world) heal() {
	w.note("all faults end")
	for _, p := range w.alive() {
		w.net.setLag(p.name, 0)
		p.cutIn.Store(0)
		p.setFull(false)
		p.unread.Store(false)
		p.backAt = 0
		p.failIn.Store(0)
		if p.running && p.armed { // its disk may be read only until it is started again
			_ = p.end()
		}
	}
	d := w.boss.disk
	d.mu.Lock()
	d.cutAt = 0
	failed := d.fail
	d.fail, d.full = false, false
	d.mu.Unlock()
	if failed && w.boss.running {
		w.must(w.boss.crash(killed, w.rng))
	}
	w.boss.backAt = 0
	w.settle()
	w.nurse()
	w.busy.Wait()
	w.removeGone()
	var s status
	ok := false
	end := w.now() + healTime
	for wait := time.Second; w.now() < end && !w.model.failed(); wait = min(2*wait, 30*time.Second) {
		time.Sleep(wait)
		w.settle()
		w.nurse()
		w.undrain()
		if s, ok = w.clients[0].status(); ok && s.whole(len(w.alive())) && w.surplus() == 0 && w.rotten() == 0 {
			w.note("the array is whole")
			return
		}
	}
	if !w.model.failed() {
		_ = w.query("SELECT n.id, r.upload_id, r.stripe, r.part, r.attempt FROM removal r JOIN node n ON n.key = r.node", func(v []driver.Value) {
			w.note(fmt.Sprint("waits for removal: ", v))
		})
		_ = w.query("SELECT id, upload_id, state FROM upload WHERE state <> 1", func(v []driver.Value) { w.note(fmt.Sprint("unsettled upload: ", v)) })
		_ = w.query("SELECT id, cleaned_run, removals FROM node", func(v []driver.Value) { w.note(fmt.Sprint("node: ", v)) })
		w.model.fault("after %v without any fault the array is not whole: answered %t: %+v %s, %d surplus copies, %d rotten ones", healTime, ok, s, unexplained(s), w.surplus(), w.rotten())
	}
}

// undrain has all machines stay in the array.
func (w *world) undrain() {
	nodes, _ := w.clients[0].nodes()
	for _, p := range w.alive() {
		if n := nodes[p]; n.Draining {
			w.clients[0].ask("POST", "/nodes/"+string(n.ID)+"/undrain", nil)
		}
	}
}

// rotten counts the chunks with flipped bits that are in sight. Scrubs find them.
func (w *world) rotten() (n int) {
	for _, p := range w.alive() {
		found, err := p.chunksOf()
		w.must(err)
		for name := range found {
			n += truth(p.rottens[string(name)])
		}
	}
	return n
}

// removeGone takes machines that are gone for good out of the array, which is allowed
// once no file needs them any more.
func (w *world) removeGone() {
	for _, p := range w.pis {
		if !p.gone || p.removed {
			continue
		}
		id, err := p.node()
		w.must(err)
		p.removed = id == ""
		var a answer
		for end := w.now() + healTime; w.now() < end && !p.removed; {
			a = w.clients[0].ask("DELETE", "/nodes/"+id, nil)
			// One that never had a chunk is forgotten by a controller that is started anew.
			p.removed = a.status >= 200 && a.status < 300 || a.status == http.StatusNotFound
			if !p.removed {
				time.Sleep(20 * time.Second)
				w.settle()
				w.nurse()
			}
		}
		if !p.removed {
			w.model.fault("after %v without any fault %s, which is gone for good, can't be removed: %d %s %v", healTime, p.name, a.status, a.body, a.err)
		}
	}
}

// node is the id of the machine's node.
func (p *pi) node() (string, error) {
	b, err := os.ReadFile(filepath.Join(p.chunkDir(), "raid-node.json"))
	if os.IsNotExist(err) {
		return "", nil // it was never started
	}
	var marker struct{ Node string }
	return marker.Node, errors.Join(err, json.Unmarshal(b, &marker))
}

func unexplained(s status) string {
	if s.UnexplainedChunks == nil {
		return "unexplained chunks are not counted"
	}
	return fmt.Sprint(*s.UnexplainedChunks, " unexplained chunks")
}

// whole reports whether the array says that there is nothing left to do.
func (s status) whole(nodes int) bool {
	return s.Ready && s.Health == string(raid.Healthy) && s.DegradedFiles == 0 && s.FilesAtRisk == 0 && s.FilesUnreadable == 0 &&
		s.RemovalsQueued == 0 && s.UnexplainedChunks != nil && *s.UnexplainedChunks == 0 && s.Nodes.Up == nodes
}

// check compares an array that is whole with what clients were told.
func (w *world) check() {
	found, a := w.clients[0].list()
	if found == nil && a.status != 200 {
		w.model.fault("GET /files: %d %s %v", a.status, a.body, a.err)
		return
	}
	byName := map[string][]listed{}
	for _, l := range found {
		byName[l.Filename] = append(byName[l.Filename], l)
	}
	for _, f := range w.model.files {
		all := byName[f.name]
		delete(byName, f.name)
		switch {
		case len(all) > 1:
			w.model.fault("%s is listed %d times and was uploaded once", f.name, len(all))
		case len(all) == 1 && f.id == 0:
			f.id = all[0].ID // its upload was not answered, and it is there all the same
		case len(all) == 1 && all[0].ID != f.id:
			w.model.fault("%s was acknowledged as file %d and is listed as %d", f.name, f.id, all[0].ID)
		}
		switch {
		case len(all) == 0 && f.id != 0 && !f.doomed:
			w.model.fault("%s (file %d) was acknowledged, never deleted, and is not listed", f.name, f.id)
		case len(all) == 1 && f.gone && !f.undone:
			w.model.fault("%s (file %d) was deleted, and is listed", f.name, f.id)
		case len(all) == 1 && (all[0].Size != int64(len(f.content)) || all[0].Degraded):
			w.model.fault("%s (file %d) is listed as %+v and has %d bytes", f.name, f.id, all[0], len(f.content))
		}
		if f.id != 0 {
			w.clients[1].read(f, f.id)
			w.mustFit(f, len(all) == 1)
		}
	}
	for name := range byName {
		w.model.fault("%q is listed and was never uploaded", name)
	}
	w.checkDisks(found)
	w.checkSpread()
}

// mustFit compares the last request about a file, which was a read, with the list.
func (w *world) mustFit(f *file, listed bool) {
	last := w.model.ops[len(w.model.ops)-1]
	if last.forgotten || (last.out == present) != listed {
		w.model.fault("%s (file %d) is listed: %t, and a read says %d (1: there, 2: not there), status %s", f.name, f.id, listed, last.out, last.was)
	}
}

// chunksOf are the names of the chunks on a machine's disk, in sight of everybody.
func (p *pi) chunksOf() (map[raid.ChunkName]string, error) {
	found := map[raid.ChunkName]string{}
	dirs, err := os.ReadDir(p.chunkDir())
	if err != nil {
		return found, errOf(err) // it was never started
	}
	for _, d := range dirs {
		if !d.IsDir() || len(d.Name()) != 2 {
			continue
		}
		err := filepath.WalkDir(filepath.Join(p.chunkDir(), d.Name()), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				found[raid.ChunkName(e.Name())] = path
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// checkDisks compares what is on the disks with the catalog. Every part of a listed file has two
// good copies on distinct machines, and nothing else is there.
func (w *world) checkDisks(files []listed) {
	rows, err := w.readCatalog()
	if err != nil {
		w.model.fault("read the catalog: %v", err)
		return
	}
	onDisk := map[raid.ChunkName]map[*pi]string{}
	for _, p := range w.pis {
		if p.gone {
			continue
		}
		found, err := p.chunksOf()
		if err != nil {
			w.model.fault("read the disk of %s: %v", p.name, err)
			return
		}
		for name, path := range found {
			if onDisk[name] == nil {
				onDisk[name] = map[*pi]string{}
			}
			onDisk[name][p] = path
		}
	}
	w.must(w.query(`SELECT c.name FROM chunk_name c JOIN upload u ON u.id = c.file WHERE u.state = 2`, func(v []driver.Value) {
		delete(onDisk, raid.ChunkName(v[0].(string))) // of a deleted file that can still be put back
	}))
	byID := map[int64]*file{}
	for _, f := range w.model.files {
		byID[f.id] = f
	}
	parts := map[partKey][]*pi{}
	for _, r := range rows {
		places := onDisk[r.name]
		delete(onDisk, r.name)
		f := byID[r.file]
		if f == nil {
			continue // told already
		}
		for p, path := range places {
			b, err := os.ReadFile(path)
			want := f.part(r.stripe, r.part)
			if err == nil && bytes.HasPrefix(b, want) && len(b) > len(want) {
				parts[r.key()] = append(parts[r.key()], p)
			} else {
				w.model.fault("chunk %s of %s on %s is not what was uploaded: %v", r.name, f.name, p.name, err)
			}
		}
		if parts[r.key()] == nil {
			parts[r.key()] = []*pi{}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(parts), partKey.compare) {
		slices.SortFunc(parts[k], func(a, b *pi) int { return strings.Compare(a.name, b.name) })
		if n := len(slices.Compact(parts[k])); n < 2 {
			w.model.fault("part %+v of %s has %d good copies on distinct machines", k, byID[k.file].name, n)
		}
	}
	if len(onDisk) > 0 { // deleted files may have gone for good just now
		time.Sleep(30 * time.Second)
		w.settle()
	}
	for name, places := range onDisk {
		for p, path := range places {
			if _, err := os.Stat(path); err == nil {
				w.model.fault("chunk %s on %s belongs to nothing", name, p.name)
			}
		}
	}
}

// part returns the bytes that a part of a file should hold.
func (f *file) part(stripe int64, part int) []byte {
	from := min(int(stripe)*stripeSize, len(f.content))
	b := f.content[from:min(from+stripeSize, len(f.content))]
	half := (len(b) + 1) / 2
	if part == 1 {
		return b[:half]
	}
	return b[half:]
}
