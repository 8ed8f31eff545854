package object

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// storeTimeout bounds the time that one node may take for one chunk. It is long, since
	// a node that is merely slow must be let finish. One that does not answer is noticed
	// much earlier, and a second one is asked as well.
	storeTimeout = time.Minute
	// watchEvery is the interval at which a waiting request looks at its node.
	watchEvery = 100 * time.Millisecond
	// maxParallel bounds the nodes that may be storing one copy at the same time, because
	// the earlier ones do not answer.
	maxParallel = 3
	// maxAttempts bounds how often one part is placed: far more than there are
	// nodes at home, far fewer than a chunk name has room for.
	maxAttempts = 1000
)

// stripeUpload is one stripe on its way to the nodes.
type stripeUpload struct {
	up     *upload
	stripe int64
	buf    *budget.Buffer
	file   *raid.FileMeta // of the last stripe
	chunks []outgoing     // one for each part
	done   chan struct{}  // closed when every copy is stored, or err is set

	mu       sync.Mutex
	placed   *placement.Stripe
	parts    []raid.Part
	attempts map[int]int // last attempt by part
	sent     []raid.Removal
	excluded map[target]bool // nodes that failed this stripe
	patience time.Time       // until when failing nodes are tried again; zero: not yet needed
	err      error
}

// outgoing is a part with its checksums, shared by its copies.
type outgoing struct {
	payload []byte
	blocks  []uint32
}

// target is a node in one session: after a restart it deserves a new chance.
type target struct {
	node    raid.NodeID
	session raid.SessionID
}

// attempt is one chunk on its way to one node.
type attempt struct {
	peer      *membership.Peer
	key       raid.ChunkKey
	began     time.Time
	colocated bool // the node has another copy of the part: better than none
	cancel    context.CancelFunc
	err       error // once it is over
}

// send starts storing all copies of a stripe and returns at once.
func (up *upload) send(i int64, st filled, meta *raid.FileMeta) *stripeUpload {
	j := &stripeUpload{
		up: up, stripe: i, buf: st.buf, file: meta, done: make(chan struct{}),
		placed: placement.NewStripe(), attempts: map[int]int{}, excluded: map[target]bool{},
	}
	for p, payload := range up.s.cfg.Level.Cut(st.data, st.extra) {
		blocks := raid.BlockChecksums(payload)
		crc, _ := raid.CombineBlocks(blocks, int64(len(payload)))
		j.chunks = append(j.chunks, outgoing{payload, blocks})
		j.parts = append(j.parts, raid.Part{
			Stripe: i, Number: p + 1, Length: int64(len(payload)), CRC: crc, Copies: make([]raid.Copy, up.s.cfg.Copies),
		})
	}
	var copies sync.WaitGroup
	for p := range j.parts {
		for c := range j.parts[p].Copies {
			copies.Add(1)
			up.sends.Add(1)
			go func() {
				defer up.sends.Done()
				defer copies.Done()
				j.storeCopy(p, c)
			}()
		}
	}
	up.sends.Add(1)
	go func() {
		defer up.sends.Done()
		copies.Wait()
		close(j.done)
	}()
	return j
}

// storeCopy places copy c of part p until a node has it or the upload is over.
// A node that does not answer is not given up while no other can take the copy. What it
// has under way may be all that is needed. The first acknowledgement
// counts; what the other attempts may leave behind is recorded for removal.
func (j *stripeUpload) storeCopy(p, c int) {
	results := make(chan *attempt, maxParallel) // so many may still report when nobody listens any more
	running := map[*attempt]bool{}
	defer func() {
		for a := range running {
			j.discard(p, a)
		}
	}()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if len(running) == 0 {
			a, err := j.begin(p, results)
			if err != nil {
				j.fail(err)
				return
			}
			running[a] = true
		}
		select {
		case a := <-results:
			delete(running, a)
			if a.err == nil {
				j.stored(p, c, a)
				return
			}
			j.exclude(a)
			j.discard(p, a)
			j.up.again(a, a.err)
		case <-tick.C:
			if a := j.hedge(p, running, results); a != nil {
				running[a] = true
			}
		case <-j.up.ctx.Done():
			j.fail(context.Cause(j.up.ctx))
			return
		}
	}
}

// begin starts an attempt on a node that it may have to wait for.
func (j *stripeUpload) begin(p int, results chan<- *attempt) (*attempt, error) {
	peer, colocated, err := j.place(p)
	if err != nil {
		return nil, err
	}
	return j.start(p, peer, colocated, results)
}

// hedge starts another attempt when none of those that run gets an answer and
// another node can take the copy; else it returns nil.
func (j *stripeUpload) hedge(p int, running map[*attempt]bool, results chan<- *attempt) *attempt {
	if len(running) >= maxParallel {
		return nil
	}
	for a := range running {
		if !a.peer.Suspect() && !a.peer.StoreTooLong(time.Since(a.began)) {
			return nil
		}
	}
	peer, err := j.tryPlace(p, false)
	if err != nil {
		return nil
	}
	a, err := j.start(p, peer, false, results)
	if err != nil {
		return nil
	}
	for old := range running {
		j.up.again(old, errSilent)
	}
	return a
}

// errSilent is why a copy is sent to another node although the first may answer.
var errSilent = errors.New("the node does not answer")

// again counts and logs that a copy is placed another time. An attempt that
// still runs sets its own err, so the cause is told by the caller.
func (up *upload) again(a *attempt, cause error) {
	if up.ctx.Err() != nil {
		return
	}
	up.s.stats.replaced.Add(1)
	up.s.cfg.Log.Warn("a copy is placed again", "file", up.file.ID, "chunk", a.key.Name(), "node", a.peer.ID(), "cause", cause)
}

// start sends one chunk in a goroutine that reports to results. A send to a node
// that hangs ends with its session.
func (j *stripeUpload) start(p int, peer *membership.Peer, colocated bool, results chan<- *attempt) (*attempt, error) {
	key, err := j.newKey(p, peer)
	if err != nil {
		return nil, err
	}
	cfg := &j.up.s.cfg
	meta := raid.ChunkMeta{
		Array: cfg.Array, Key: key, Level: cfg.Level.Name, StripeSize: j.up.file.StripeSize,
		Length: j.parts[p].Length, Blocks: j.chunks[p].blocks, Commit: cfg.Commit(), File: j.file,
	}
	ctx, cancel := context.WithTimeout(j.up.ctx, storeTimeout)
	a := &attempt{peer: peer, key: key, began: time.Now(), colocated: colocated, cancel: cancel}
	held := j.buf.Retain()
	j.up.sends.Add(1)
	ok := j.up.s.spawn(func() {
		defer j.up.sends.Done()
		defer held.Release()
		defer cancel()
		a.err = peer.Store(ctx, meta, j.chunks[p].payload)
		results <- a
	})
	if !ok {
		cancel()
		held.Release()
		j.up.sends.Done()
		return nil, raid.ErrShutdown
	}
	return a, nil
}

// newKey names a new attempt, and notes it as sent.
func (j *stripeUpload) newKey(p int, peer *membership.Peer) (raid.ChunkKey, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.attempts[p] >= maxAttempts {
		return raid.ChunkKey{}, tooManyAttempts()
	}
	j.attempts[p]++
	key := raid.ChunkKey{Upload: j.up.file.Upload, Stripe: j.stripe, Part: p + 1, Attempt: j.attempts[p]}
	if !peer.Lab() {
		j.sent = append(j.sent, raid.Removal{Node: peer.ID(), Key: key})
	}
	return key, nil
}

// stored notes an acknowledged copy.
func (j *stripeUpload) stored(p, c int, a *attempt) {
	node := a.peer.ID()
	if a.peer.Lab() {
		node = "" // nobody can say later where it lies
	} else {
		j.up.mu.Lock()
		j.up.nodes[node] = true
		j.up.mu.Unlock()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// A second copy on one native node shows in the catalog by itself; on a lab
	// node, whose place is not known, it has to be called bad to be made again.
	j.parts[p].Copies[c] = raid.Copy{Index: c + 1, Attempt: a.key.Attempt, Node: node, Bad: a.colocated && a.peer.Lab()}
}

// discard ends an attempt that is not needed: what may lie there has to go.
func (j *stripeUpload) discard(p int, a *attempt) {
	a.cancel()
	j.mu.Lock()
	j.placed.Return(j.group(p), a.peer.ID())
	j.mu.Unlock()
	if a.peer.Lab() {
		return
	}
	j.up.mu.Lock()
	j.up.removals = append(j.up.removals, raid.Removal{Node: a.peer.ID(), Key: a.key})
	j.up.mu.Unlock()
}

// group is the number under which chunks of part p are placed.
func (j *stripeUpload) group(p int) int { return j.up.s.cfg.Level.Group(p + 1) }

// fail ends the upload with the first error.
func (j *stripeUpload) fail(err error) {
	j.mu.Lock()
	if j.err == nil {
		j.err = err
	}
	j.mu.Unlock()
	j.up.cancel(err)
}

// attempted lists all chunks that were sent for the stripe to native nodes.
func (j *stripeUpload) attempted() []raid.Removal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sent
}

// replaceLost places copies again whose node acknowledged them and is gone.
func (up *upload) replaceLost(j *stripeUpload) error {
	for p := range j.parts {
		for c := range j.parts[p].Copies {
			old := j.parts[p].Copies[c]
			if old.Node == "" {
				continue
			}
			if _, ok := up.s.cfg.Nodes.Peer(old.Node); ok {
				continue
			}
			j.mu.Lock()
			j.placed.Return(j.group(p), old.Node)
			j.mu.Unlock()
			j.storeCopy(p, c)
			if j.err != nil {
				return j.err
			}
			up.giveBack([]raid.Removal{{Node: old.Node, Key: j.parts[p].Key(up.file.Upload, old)}})
		}
	}
	return nil
}
