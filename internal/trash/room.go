package trash

import (
	"context"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// roomStep is the least size of the files that go at once, in bytes, so that not each small
	// upload has to wait for as little as it needs.
	roomStep = 64 << 20
	// patience is the time that an upload waits for room. Nodes delete in seconds, on a slow
	// card in some more.
	patience = 30 * time.Second
	// poll is the interval of the looks while somebody waits.
	poll = 200 * time.Millisecond
	// heartbeatAge is the time after its last removal within which a node has said what is free on it.
	heartbeatAge = 5 * time.Second
	// lowShare is which share of a node's disk is kept free by the trash alone, as long as
	// it holds something, and lowMost how many bytes of it at most.
	lowShare = 50
	lowMost  = 1 << 30
	// lookEvery lies between two looks at the nodes' room.
	lookEvery = time.Second
	// tellEvery lies between two events of files that went for room.
	tellEvery = 10 * time.Minute
)

// MakeRoom has the oldest files go until enough says that there is room, in steps of
// bytes at least, and waits until the nodes have removed them. It gives up, and returns
// false, when nothing is left to go or the nodes take too long. One that
// hangs holds it up no longer than that. enough must not wait.
//
// One caller at a time makes room; others wait for what that brings.
func (b *Bin) MakeRoom(ctx context.Context, bytes int64, enough func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !enough() {
		if b.Held().Files == 0 && len(b.making) == 0 && !b.removing(ctx) {
			return enough()
		}
		select {
		case b.making <- struct{}{}:
			made := b.discardUntil(ctx, bytes, enough)
			<-b.making
			return made
		case <-b.changed():
		case <-ctx.Done():
			return enough()
		}
	}
	return true
}

// changed is closed or ready when it is worth to look again.
func (b *Bin) changed() <-chan time.Time { return time.After(poll) }

// discardUntil has files go, step by step, until it is enough.
func (b *Bin) discardUntil(ctx context.Context, bytes int64, enough func() bool) bool {
	for !enough() {
		if b.mayDiscard() != nil {
			select {
			case <-b.changed():
				continue
			case <-ctx.Done():
				return false
			}
		}
		if b.resting() {
			return false
		}
		step, unused := max(bytes, roomStep), b.unused()
		if unused > (allowedSteps-1)*step {
			b.noteUse(false, false)
			b.allow(unused, step)
			return false
		}
		before := b.room()
		gone, err := b.cfg.Record.Discard(ctx, raid.Discard{Until: b.cfg.Record.Ran(), Bytes: step, Limit: batch})
		if err != nil {
			b.failed(err)
			return enough()
		}
		b.failing = 0
		b.wentForRoom(gone)
		made, grown := b.await(ctx, before+gone.Bytes/grownShare, enough)
		if gone.Files > 0 && ctx.Err() == nil {
			b.noteUse(made || grown, unused < step)
		}
		if made || gone.Files == 0 || ctx.Err() != nil {
			return made
		}
	}
	return true
}

// await waits until there is enough, or what was to be removed from the nodes that take
// chunks is removed and they have told what is free. grown says that there was room for
// so many bytes.
func (b *Bin) await(ctx context.Context, room int64, enough func() bool) (made, grown bool) {
	b.cfg.Wake()
	for quiet := time.Duration(0); quiet < heartbeatAge; quiet += poll {
		if enough() {
			return true, true
		}
		grown = grown || b.room() >= room
		if b.removing(ctx) {
			quiet = 0
		}
		select {
		case <-b.changed():
		case <-ctx.Done():
			return enough(), grown
		}
	}
	return enough(), grown
}

// removing reports whether chunks wait to be removed from nodes that take chunks. What
// goes for good becomes removals first.
func (b *Bin) removing(ctx context.Context) bool {
	for more := true; more; {
		var err error
		if more, err = b.cfg.Removals.Sweep(ctx, batch); err != nil {
			b.cfg.Log.Debug("deleted files become no removals", "cause", err)
			break // repair tries again
		}
	}
	waiting, err := b.cfg.Removals.RemovalCounts(ctx)
	return err == nil && slices.ContainsFunc(b.cfg.Nodes.Candidates(), func(c placement.Candidate) bool { return waiting[c.ID] > 0 })
}

// room returns what files can take beside the trash, in bytes.
func (b *Bin) room() int64 { return b.cfg.Cost().Most(b.cfg.Nodes.Candidates()) }

// Room returns the bytes that files can take, of the nodes' own room and of what the trash
// makes, about.
func (b *Bin) Room() int64 {
	candidates := b.cfg.Nodes.Candidates()
	room := b.cfg.Cost().Room(candidates)
	if cost := b.cfg.Cost(); len(candidates) >= cost.Copies || cost.Degraded && len(candidates) > 0 {
		room += b.Makes()
	}
	return room
}

// Makes returns the bytes of files that MakeRoom could give way, 0 while it does not.
func (b *Bin) Makes() int64 {
	if b.resting() || b.cfg.Nodes.StaleCatalog() != nil {
		return 0
	}
	return b.Held().Bytes
}

// restState remembers files that went and made no room.
type restState struct {
	times int
	until time.Time
}

// After the first time in vain nothing goes for room for firstRest, after each further
// time for twice as long, at most maxRest.
const (
	firstRest = time.Minute
	maxRest   = 6 * time.Hour
)

// noteUse notes whether what went was of use, and whether files had taken the room that was
// made before. A node that is full whatever goes from it, or now and then, as one may say
// that does not tell the truth, does not empty the trash.
func (b *Bin) noteUse(useful, taken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if useful {
		if taken {
			b.rest = restState{}
		}
		return
	}
	rest := min(firstRest<<min(b.rest.times, 10), maxRest)
	b.rest = restState{times: b.rest.times + 1, until: time.Now().Add(rest)}
	b.cfg.Log.Warn("deleted files went from the trash for room, and there is none more; the rest stays for a while", "for", rest)
}

// failed notes that files could not go for room. Each try writes a line of the log, which may lie on
// the disk that is full.
func (b *Bin) failed(err error) {
	b.failing = min(max(2*b.failing, retryAfter), retryMax)
	b.failedAt = time.Now()
	b.cfg.Log.Warn("the trash could not make room", "error", err)
}

func (b *Bin) resting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.rest.until)
}

// keepRoom has files go before uploads have to wait for it.
func (b *Bin) keepRoom(ctx context.Context) {
	for {
		changed := b.cfg.Nodes.Changed()
		b.unused()
		if b.Held().Files > 0 && b.mayDiscard() == nil && !b.resting() && b.low() {
			select {
			case b.making <- struct{}{}:
				if time.Since(b.failedAt) >= b.failing {
					making, cancel := context.WithTimeout(ctx, patience)
					b.discardUntil(making, roomStep, func() bool { return !b.low() })
					cancel()
				}
				<-b.making
			default: // somebody does it
			}
		}
		b.tellSum()
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery):
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(retryAfter):
		}
	}
}

// low reports whether too few nodes have more room than what the trash keeps free.
func (b *Bin) low() bool {
	candidates, keep := slices.Clone(b.cfg.Nodes.Candidates()), map[raid.NodeID]int64{}
	for _, n := range b.cfg.Nodes.Nodes() {
		keep[n.ID] = min(n.TotalBytes/lowShare, lowMost)
	}
	for i := range candidates {
		candidates[i].Free -= keep[candidates[i].ID]
	}
	cost := b.cfg.Cost()
	return len(candidates) > 0 && (len(candidates) >= cost.Copies || cost.Degraded) && cost.Lacking(candidates, cost.Chunk) > 0
}

// told sums up files that went for room, until that is told.
type told struct {
	sum  raid.TrashTotals
	last time.Time
}

func (b *Bin) wentForRoom(gone raid.TrashTotals) {
	if gone.Files == 0 {
		return
	}
	b.stats.room.Add(gone.Files)
	b.cfg.Log.Info("deleted files go for good, since their room is needed", "files", gone.Files, "bytes", gone.Bytes)
	b.mu.Lock()
	b.told.sum = b.told.sum.Add(gone)
	b.mu.Unlock()
	b.tellSum()
}

// tellSum tells, now and then, what went for room.
func (b *Bin) tellSum() {
	b.mu.Lock()
	sum := b.told.sum
	due := sum.Files > 0 && (b.told.last.IsZero() || time.Since(b.told.last) >= tellEvery)
	if due {
		b.told = told{last: time.Now()}
	}
	b.mu.Unlock()
	if due {
		b.cfg.Tell(raid.Event{
			Kind: raid.TrashEmptied, Text: "deleted files went from the trash before their time, since their room was needed: " + describe(sum),
			Advice: "add a node, if deleted files are to be kept for longer",
		})
	}
}
