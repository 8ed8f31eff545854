package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
)

const (
	// maxPiece is the most that one read asks of a node, in bytes. Every
	// download is granted one piece and takes more only from the shared pool.
	maxPiece = 1 << 20
	// firstPiece is the size that a reader without a known end fetches first; it doubles
	// as long as the reading goes on in sequence.
	firstPiece = 2 * raid.BlockSize
	// piecesAhead is the number of pieces that one download fetches ahead: two stripes of
	// the default size.
	piecesAhead = 8
	// partsWindow is for how many stripes the catalog is asked at once.
	partsWindow = 16
)

// Reader reads one file. Every byte it returns was checked. It is not safe for
// concurrent use; Close must be called.
type Reader struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelFunc
	file   raid.File
	layout stripe.Layout
	pos    int64 // of the consumer
	queue  []*piece
	ahead  int64 // where the next piece begins
	step   int64 // size of the next piece while the end is unknown
	run    int64 // how much was read in sequence since the last Seek
	window []raid.Part
	from   int64 // first stripe in window
	failed error // once a read failed the reader stays failed until a Seek
	asked  bool  // the catalog was asked anew since the last success
}

// piece is a run of bytes within one part that is fetched at once.
type piece struct {
	part   raid.Part
	offset int64 // within the part, a multiple of raid.BlockSize
	length int64 // whole blocks, the last of the part may be short
	skip   int64 // bytes at the front that nobody asked for
	want   int64 // bytes after skip that somebody did
	read   int64 // of want, consumed
	buf    *budget.Buffer
	done   chan struct{}
	err    error
	blocks []uint32 // once it is fetched: checksums of the part's blocks; nil: nobody said
	heals  bool     // it is read to make a copy again: nodes that are away are not waited for
	source bool     // it is read to make a piece of another part: they are not either
	// siblings are those that it can be made from when no copy of its own part is to be had.
	siblings siblings
}

// Open starts reading a file. Nothing is fetched before the first read.
func (s *Store) Open(ctx context.Context, f raid.File) (*Reader, error) {
	level, err := s.cfg.Levels.Named(f.Level)
	l := stripe.Layout{Level: level, StripeSize: f.StripeSize, Size: f.Size}
	if err == nil {
		err = l.Valid()
	}
	if err != nil {
		return nil, fmt.Errorf("open file %d: %w", f.ID, err)
	}
	s.stats.downloads.Add(1)
	r := &Reader{s: s, file: f, layout: l, step: firstPiece}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r, nil
}

// Seek moves the reader; it never asks a node for anything.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.file.Size
	}
	if offset < 0 {
		return 0, fmt.Errorf("%w: seek to %d", raid.ErrInvalid, offset)
	}
	if offset != r.pos || r.failed != nil {
		r.dropQueue()
		r.pos, r.failed, r.step, r.run = offset, nil, firstPiece, 0
	}
	return offset, nil
}

// Read reads the next bytes. Its end being unknown, it fetches no more than
// asked for at first, and then as much ahead
// as was read in sequence. WriteN knows better.
func (r *Reader) Read(p []byte) (int, error) {
	if r.pos >= r.file.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	ahead := max(int64(len(p)), r.run)
	b, err := r.next(min(r.file.Size, r.pos+ahead), r.step)
	if err != nil {
		return 0, err
	}
	n := copy(p, b)
	r.consumed(int64(n))
	return n, nil
}

// WriteTo writes the rest of the file to w.
func (r *Reader) WriteTo(w io.Writer) (int64, error) { return r.WriteN(w, r.file.Size-r.pos) }

// WriteN writes the next n bytes to w, fetching exactly the blocks that they
// lie in. It returns io.ErrUnexpectedEOF when the file ends before.
func (r *Reader) WriteN(w io.Writer, n int64) (written int64, err error) {
	end := min(r.pos+n, r.file.Size)
	for r.pos < end {
		b, err := r.next(end, maxPiece)
		if err != nil {
			return written, err
		}
		b = b[:min(int64(len(b)), end-r.pos)]
		k, err := w.Write(b)
		written += int64(k)
		r.consumed(int64(k))
		if err != nil {
			return written, err
		}
	}
	if written < n {
		return written, io.ErrUnexpectedEOF
	}
	return written, nil
}

// Close ends what is being fetched and gives back its memory.
func (r *Reader) Close() error {
	r.cancel()
	r.dropQueue()
	return nil
}

// next returns verified bytes at the reader's position, fetching ahead up to
// end in pieces of at most step bytes.
func (r *Reader) next(end, step int64) ([]byte, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	if len(r.queue) == 0 {
		r.ahead = r.pos
	}
	if err := r.fetchAhead(end, step); err != nil {
		r.failed = err
		return nil, err
	}
	p := r.queue[0]
	select {
	case <-p.done:
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
	if p.err != nil && !r.asked && r.ctx.Err() == nil {
		// The copies may have been moved since the catalog was asked.
		r.dropQueue()
		r.window, r.asked = nil, true
		return r.next(end, step)
	}
	if p.err != nil {
		r.failed = fmt.Errorf("read file %d at byte %d: %w", r.file.ID, r.pos, r.s.orStale(p.err))
		return nil, r.failed
	}
	return p.buf.Bytes()[p.skip+p.read : p.skip+p.want], nil
}

// consumed moves on by n bytes of the first piece.
func (r *Reader) consumed(n int64) {
	p := r.queue[0]
	r.pos += n
	r.run += n
	r.asked = false
	p.read += n
	r.s.stats.bytesOut.Add(n)
	if p.read == p.want {
		p.buf.Release()
		r.queue = r.queue[1:]
		r.step = min(2*r.step, maxPiece)
	}
}

// fetchAhead starts fetching pieces until enough are under way.
func (r *Reader) fetchAhead(end, step int64) error {
	for r.ahead < end && len(r.queue) < piecesAhead {
		p, err := r.plan(r.ahead, min(end-r.ahead, step))
		if err != nil {
			return err
		}
		if len(r.queue) == 0 && p.length <= maxPiece {
			p.buf = r.s.cfg.Pool.Get(int(p.length))
		} else if len(r.queue) == 0 { // a whole chunk of a lab peer waits for its turn
			if p.buf, err = r.s.cfg.Pool.Acquire(r.ctx, int(p.length)); err != nil {
				return err
			}
		} else {
			b, ok := r.s.cfg.Pool.TryGet(int(p.length))
			if !ok {
				return nil
			}
			p.buf = b
		}
		r.ahead += p.want
		r.queue = append(r.queue, p)
		if !r.s.spawn(func() {
			defer close(p.done)
			end := r.s.cfg.Request()
			p.err = r.s.fetch(r.ctx, &r.file, p)
			end(p.err == nil && p.length <= smallRequest)
		}) {
			p.err = raid.ErrShutdown
			close(p.done)
		}
	}
	return nil
}

// plan says which blocks hold the bytes at offset, at most n of them.
func (r *Reader) plan(offset, n int64) (*piece, error) {
	e := r.layout.At(offset, n)
	part, err := r.part(e.Stripe, e.Part)
	if err != nil {
		return nil, err
	}
	if whole := r.layout.PartLength(e.Stripe, e.Part); part.Length != whole {
		return nil, fmt.Errorf("%w: the catalog says %d bytes for stripe %d part %d of file %d, which must have %d",
			raid.ErrCorrupt, part.Length, e.Stripe, e.Part, r.file.ID, whole)
	}
	start := e.Offset - e.Offset%raid.BlockSize
	limit := start + maxPiece
	if r.whole(part) { // a lab peer knows nothing but whole chunks
		start, limit = 0, part.Length
		e.Length = min(part.Length-e.Offset, r.file.Size-offset)
	}
	// The rest of the last block comes along, and may be wanted next.
	stop := min((e.Offset+e.Length+raid.BlockSize-1)/raid.BlockSize*raid.BlockSize, limit, part.Length)
	p := &piece{part: part, siblings: r.siblings(e.Stripe), offset: start, length: stop - start, skip: e.Offset - start, want: stop - e.Offset, done: make(chan struct{})}
	return p, nil
}

// onlyLab reports whether no native node is known to have a copy.
func onlyLab(p raid.Part) bool {
	return !slices.ContainsFunc(p.Copies, func(c raid.Copy) bool { return c.Node.IsNative() })
}

// whole reports whether a part is to be had from lab peers alone, or will be
// after the first try failed.
func (r *Reader) whole(p raid.Part) bool {
	lab := false
	for _, c := range p.Copies {
		if !c.Node.IsNative() {
			lab = true
		} else if _, ok := r.s.cfg.Nodes.Peer(c.Node); ok && !c.Bad && !r.asked {
			return false
		}
	}
	return lab
}

// part looks a part up, asking the catalog for several stripes at once.
func (r *Reader) part(s int64, number int) (raid.Part, error) {
	i := int(s-r.from)*r.layout.Level.Parts + number - 1
	if len(r.window) == 0 || s < r.from || i >= len(r.window) {
		w, err := r.s.cfg.Index.Parts(r.ctx, r.file.ID, s, min(s+partsWindow, r.file.Stripes))
		if err != nil {
			return raid.Part{}, fmt.Errorf("look up stripe %d of file %d: %w", s, r.file.ID, err)
		}
		r.window, r.from, i = w, s, number-1
	}
	if i >= len(r.window) || r.window[i].Stripe != s || r.window[i].Number != number {
		return raid.Part{}, fmt.Errorf("%w: the catalog lacks stripe %d part %d of file %d (was it deleted?)", raid.ErrNotFound, s, number, r.file.ID)
	}
	return r.window[i], nil
}

// siblings are those of the parts of stripe s, which is in the window.
func (r *Reader) siblings(s int64) (sib siblings) {
	if r.layout.Level.Spare() > 0 {
		i := int(s-r.from) * r.layout.Level.Parts
		sib = siblings{r.layout.Level, r.window[i:min(i+r.layout.Level.Parts, len(r.window))]}
	}
	return sib
}

// dropQueue ends all fetches that are under way. A later read starts new ones.
func (r *Reader) dropQueue() {
	if len(r.queue) == 0 {
		return
	}
	for _, p := range r.queue {
		release := func() {
			<-p.done
			p.buf.Release()
		}
		if !r.s.spawn(release) { // fetches end by themselves, soon
			release()
		}
	}
	r.queue = nil
}

// unavailable says that no copy of a part could be read.
func unavailable(p *piece, last error) error {
	if errors.Is(last, raid.ErrCorrupt) || errors.Is(last, raid.ErrNotFound) {
		return fmt.Errorf("%w: no good copy of stripe %d part %d is left among the nodes that answer: %w", raid.ErrCorrupt, p.part.Stripe, p.part.Number, last)
	}
	return fmt.Errorf("%w: no copy of stripe %d part %d can be reached; see which nodes are away with: raidctl nodes: %w",
		raid.ErrTooFewNodes, p.part.Stripe, p.part.Number, last)
}
