package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// deed is one thing that the event loop does, and how often beside the others.
type deed struct {
	name   string
	weight int
	do     func(w *world)
}

// deeds are the requests of clients and the faults. None of them costs a file whose upload was
// acknowledged its last good copy.
var deeds = []deed{
	{"create", 30, (*world).create},
	{"read", 16, (*world).read},
	{"delete", 12, (*world).remove},
	{"undelete", 5, (*world).undelete},
	{"list", 3, (*world).list},
	{"inspect", 6, (*world).inspect},
	{"cut the network of a node", 4, func(w *world) { w.onPi(func(p *pi) { w.net.cut(p.name) }) }},
	{"cut the network of a client", 3, func(w *world) { w.net.cut(w.clients[w.rng.IntN(len(w.clients))].name) }},
	{"cut the network of the controller", 2, func(w *world) { w.net.cut("controller") }},
	{"slow network", 2, (*world).slow},
	{"node loses its power", 4, (*world).crashPi},
	{"node loses its power at a write", 5, func(w *world) { w.onPi(func(p *pi) { p.cutIn.Store(1 + w.rng.Int64N(30)) }) }},
	{"node is restarted", 2, (*world).restartPi},
	{"disk of a node fails", 2, func(w *world) {
		w.onPi(func(p *pi) { p.armed, w.failedDisk = true, true; p.failIn.Store(1 + w.rng.Int64N(20)) })
	}},
	{"disk of a node is full", 2, (*world).fill},
	{"disk of a node can't be read", 1, func(w *world) {
		w.onPi(func(p *pi) { p.armed, w.failedDisk = true, true; p.unread.Store(!p.unread.Load()) })
	}},
	{"controller loses its power", 2, (*world).crashBoss},
	{"controller loses its power at a write", 4, func(w *world) { w.boss.disk.cutIn(1 + w.rng.IntN(40)) }},
	{"controller is restarted", 1, (*world).restartBoss},
	{"disk of the controller fails", 1, func(w *world) { w.boss.disk.set(true, false) }},
	{"disk of the controller is full", 1, (*world).fillBoss},
	{"drain a node", 1, func(w *world) { w.order("drain") }},
	{"undrain a node", 1, func(w *world) { w.order("undrain") }},
}

// chaos does so many deeds.
func (w *world) chaos(steps int) {
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	for range steps {
		w.pause()
		n := w.rng.IntN(total)
		for _, d := range deeds {
			if n -= d.weight; n < 0 {
				w.note(d.name)
				d.do(w)
				break
			}
		}
		if w.model.failed() {
			return
		}
	}
}

// pause lets time pass until the next deed. Mostly it is none to speak of. Now and then it is
// longer than it takes to notice that a node is away, or that it is lost.
func (w *world) pause() {
	d := time.Duration(w.rng.Int64N(int64(30 * time.Millisecond)))
	switch n := w.rng.IntN(100); {
	case n < 4:
		d = time.Duration(w.rng.Int64N(int64(2 * grace)))
	case n < 20:
		d = time.Duration(w.rng.Int64N(int64(4 * time.Second)))
	}
	for end := w.now() + d; ; {
		next := min(end-w.now(), 500*time.Millisecond)
		if next <= 0 {
			break
		}
		time.Sleep(next)
		w.settle()
		w.nurse()
	}
}

// nurse sees to machines that have gone down, and switches on those whose time has
// come.
func (w *world) nurse() {
	for _, p := range w.pis {
		switch {
		case p.crashed():
			w.note("power of " + p.name + " went at a write")
			w.must(p.crash(w.someLoss(), w.rng))
			p.backAt = w.soon()
		case p.running && p.ended():
			w.note("node "+p.name+" ended", "error", p.err)
			w.must(p.crash(killed, w.rng))
			p.backAt = w.soon()
		case !p.running && !p.gone && int64(w.now()) >= p.backAt:
			w.note(p.name + " is switched on")
			p.start()
			w.settle()
		}
	}
	b := w.boss
	switch {
	case b.crashed():
		w.note("power of the controller went at a write")
		w.must(b.crash(w.someLoss(), w.rng))
		b.backAt = w.soon()
	case b.running && b.ended():
		w.note("controller ended", "error", b.err)
		w.must(b.crash(killed, w.rng))
		b.backAt = w.soon()
	case !b.running && int64(w.now()) >= b.backAt:
		w.note("controller is switched on")
		b.start()
	}
}

func (w *world) must(err error) {
	if err != nil {
		w.model.fault("the simulation itself: %v", err)
	}
}

func (w *world) someLoss() loss { return loss(w.rng.IntN(3)) }

// soon is when a machine that went down is switched on again: mostly at once, at times
// after it was lost.
func (w *world) soon() int64 {
	d := time.Duration(w.rng.Int64N(int64(3 * time.Second)))
	if w.rng.IntN(4) == 0 {
		d = time.Duration(w.rng.Int64N(int64(2 * grace)))
	}
	return int64(w.now() + d)
}

// onPi does something to a machine that runs.
func (w *world) onPi(do func(p *pi)) {
	p := w.pis[w.rng.IntN(len(w.pis))]
	if p.running {
		do(p)
	}
}

func (w *world) crashPi() {
	w.onPi(func(p *pi) {
		w.must(p.crash(w.someLoss(), w.rng))
		p.backAt = w.soon()
	})
}

func (w *world) restartPi() {
	w.onPi(func(p *pi) {
		if err := p.end(); err != nil {
			w.note("node "+p.name+" ended", "error", err)
		}
		p.backAt = w.soon()
	})
}

func (w *world) crashBoss() {
	if w.boss.running {
		w.must(w.boss.crash(w.someLoss(), w.rng))
		w.boss.backAt = w.soon()
	}
}

func (w *world) restartBoss() {
	if w.boss.running && !w.boss.ended() {
		_ = w.boss.end() // its disk may be broken
		w.must(w.boss.disk.recover(killed, w.rng))
		w.boss.backAt = w.soon()
	}
}

func (w *world) fill() {
	w.onPi(func(p *pi) { p.setFull(!p.full.Load()) })
}

func (w *world) fillBoss() {
	d := w.boss.disk
	d.mu.Lock()
	full := d.full
	d.mu.Unlock()
	d.set(false, !full)
}

func (w *world) slow() {
	lag := time.Duration(0)
	if w.rng.IntN(2) == 0 {
		lag = time.Duration(w.rng.Int64N(int64(300 * time.Millisecond)))
		if w.rng.IntN(4) == 0 {
			lag = time.Duration(w.rng.Int64N(int64(4 * time.Second)))
		}
	}
	w.onPi(func(p *pi) { w.net.setLag(p.name, lag) })
}

// strike does what costs copies, while each part has two good ones on distinct machines. A disk
// rots, or a machine is gone for good, with its disk, or the others rot while one is off, or one is
// drained and taken away. Once a disk has rotten chunks that nobody may have found, no other one is struck in this run.
func (w *world) strike() {
	alive := w.alive()
	switch n := w.rng.IntN(10); {
	case n < 4:
		w.rot(w.pis[0])
	case n < 8 && len(alive) > 3 && !w.pis[0].gone && len(w.pis[0].rottens) == 0:
		p := alive[w.rng.IntN(len(alive))]
		w.note(p.name + " is gone for good")
		w.must(p.crash(killed, w.rng))
		p.gone = true
		if w.rng.IntN(2) == 0 {
			w.addPi(fmt.Sprintf("pi%d", len(w.pis)+1))
		}
	case n == 9 && len(alive) > 2 && w.rotten() == 0:
		p, away := alive[w.rng.IntN(len(alive))], w.rng.IntN(2) == 0
		if away && len(alive) > 3 {
			w.takeAway(p)
		} else {
			w.rotBesideSurplus(p)
		}
	case n < 9 && len(alive) < 6:
		w.note("another Pi is added")
		w.addPi(fmt.Sprintf("pi%d", len(w.pis)+1))
	}
}

// order has a client ask for a node to be drained or not to be.
func (w *world) order(what string) {
	c, p := w.client(), w.pis[w.rng.IntN(len(w.pis))]
	id, err := p.node()
	w.must(err)
	if id != "" {
		w.busy.Go(func() { c.ask("POST", "/nodes/"+id+"/"+what, nil) })
	}
}

// takeAway drains a machine while clients go on, and takes it away with its disk once it is said
// that it may be unplugged.
func (w *world) takeAway(p *pi) {
	id, err := p.node()
	w.must(err)
	w.note(p.name + " is drained")
	drained := false
	for end := w.now() + healTime; w.now() < end && !drained && !w.model.failed(); {
		if a := w.clients[0].ask("POST", "/nodes/"+id+"/drain", nil); a.status >= 400 && a.status < 500 {
			return // the others have no room
		}
		w.create()
		w.read()
		w.remove()
		time.Sleep(time.Duration(w.rng.Int64N(int64(4 * time.Second))))
		w.settle()
		w.nurse()
		drained = strings.Contains(w.clients[0].drain(id), "may be unplugged")
	}
	if !drained {
		w.model.fault("after %v of draining %s may not be unplugged: %s", healTime, p.name, w.clients[0].drain(id))
		return
	}
	w.note(p.name + " is taken away")
	w.must(p.crash(killed, w.rng))
	p.gone = true
	files := w.acknowledged()
	copies, err := w.goodCopies(files)
	w.must(err)
	for _, f := range files {
		if !readable(copies[f], func(q *pi) bool { return !q.gone }) {
			w.model.fault("%s was unplugged as it was said that it may be, and %s (file %d) can't be read: %v", p.name, f.name, f.id, copies[f])
		}
	}
	w.heal()
	if !w.model.failed() {
		w.check()
	}
}

// alive are the machines that are not gone for good.
func (w *world) alive() (all []*pi) {
	for _, p := range w.pis {
		if !p.gone {
			all = append(all, p)
		}
	}
	return all
}

// rot flips bits in some of the chunks on a disk.
func (w *world) rot(p *pi) {
	if p.gone {
		return
	}
	found, err := p.chunksOf()
	w.must(err)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if w.rng.IntN(3) > 0 {
			continue
		}
		w.flip(p, name, found[name])
	}
}

// flip flips a bit in one or two bytes of a chunk.
func (w *world) flip(p *pi, name raid.ChunkName, path string) {
	b, err := os.ReadFile(path)
	w.must(err)
	at := w.rng.IntN(len(b))
	b[at] ^= 1 << w.rng.IntN(8)
	if w.rng.IntN(2) == 0 { // another byte: a bit that flips twice is as it was
		b[(at+1+w.rng.IntN(len(b)-1))%len(b)] ^= 1 << w.rng.IntN(8)
	}
	w.note("bits of a chunk flip", "pi", p.name, "chunk", name)
	p.rottens[string(name)] = true
	w.must(p.fs.Load().Rot(chunkFile(name), b))
}

// rotBesideSurplus leaves a machine off until its copies were made again. Then all other copies of
// some of these parts rot before it is back, so that only what was thought surplus is good.
func (w *world) rotBesideSurplus(p *pi) {
	id, err := p.node()
	w.must(err)
	w.note(p.name + " is off until others have its copies")
	w.must(p.crash(killed, w.rng))
	p.backAt = int64(w.now() + 2*healTime)
	var rows []copyRow
	// Each is seen twice: what is being settled when the machine goes off is settled by then.
	for end, again := w.now()+10*grace, false; w.now() < end; again = len(rows) > 0 {
		time.Sleep(grace)
		w.settle()
		w.nurse()
		if rows, err = w.besideSurplus(id); err != nil || again {
			break
		}
	}
	w.must(err)
	parts := map[partKey]bool{}
	for _, r := range rows {
		if _, seen := parts[r.key()]; !seen {
			parts[r.key()] = w.rng.IntN(2) == 0
		}
		for _, q := range w.alive() {
			found, err := q.chunksOf()
			w.must(err)
			if path, ok := found[r.name]; ok && q.running && parts[r.key()] {
				w.flip(q, r.name, path)
			}
		}
	}
	w.heal()
	if !w.model.failed() {
		w.check()
	}
}

func chunkFile(name raid.ChunkName) string { return string(name[:2]) + "/" + string(name) }

// client returns one of the clients.
func (w *world) client() *client { return w.clients[w.rng.IntN(len(w.clients))] }

// sizes are those of files: most are of one block, some of several stripes.
func (w *world) size() int {
	switch n := w.rng.IntN(20); {
	case n == 0:
		return 0
	case n < 14:
		return w.rng.IntN(3000)
	case n < 18:
		return w.rng.IntN(stripeSize)
	}
	return w.rng.IntN(3 * stripeSize)
}

func (w *world) create() {
	f := &file{name: fmt.Sprintf("f%d", len(w.model.files)+1), content: make([]byte, w.size())}
	fill(f.content, rand.New(rand.NewPCG(w.seed, w.rng.Uint64())))
	w.model.add(f)
	c := w.client()
	w.busy.Go(func() { c.create(f) })
}

func fill(b []byte, rng *rand.Rand) {
	for i := 0; i < len(b); i += 8 {
		n := rng.Uint64()
		for j := i; j < min(i+8, len(b)); j++ {
			b[j] = byte(n)
			n >>= 8
		}
	}
}

func (w *world) read() {
	c, f := w.client(), w.model.choose(w.rng.IntN(1<<30), w.rng.IntN(3) == 0)
	if f != nil {
		id := f.id
		w.busy.Go(func() { c.read(f, id) })
	}
}

func (w *world) remove() {
	c, f := w.client(), w.model.choose(w.rng.IntN(1<<30), w.rng.IntN(5) == 0)
	if f != nil {
		id := f.id
		w.busy.Go(func() { c.remove(f, id) })
	}
}

func (w *world) undelete() {
	c, f := w.client(), w.model.choose(w.rng.IntN(1<<30), true)
	if f != nil && f.doomed {
		id := f.id
		w.busy.Go(func() { c.undelete(f, id) })
	}
}

func (w *world) list() {
	c := w.client()
	w.busy.Go(func() { c.list() })
}
