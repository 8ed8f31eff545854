package object

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
)

const (
	// stripesAhead bounds the stripes of one upload that are under way.
	stripesAhead = 4
	// appendEvery is after how many finished stripes a long upload writes rows.
	appendEvery = 16
	// readStep is the size of what is read before it is hashed, while still in cache.
	readStep = 256 << 10
	// grantedStripe is the largest stripe that every request is granted at once;
	// larger ones (whole files) wait for their turn.
	grantedStripe = 4 << 20
)

// upload is one attempt to make a file. Its fields are used by the goroutine
// that runs Upload alone, but for what mu guards.
type upload struct {
	s      *Store
	u      Upload
	ctx    context.Context
	cancel context.CancelCauseFunc
	file   raid.File
	hash   hash.Hash
	read   int64 // bytes of the body so far
	peeked []byte
	jobs   []*stripeUpload // sent and not yet collected, in order of stripes
	parts  []raid.Part
	begun  bool // the catalog knows the upload

	mu       sync.Mutex
	nodes    map[raid.NodeID]bool // that hold acknowledged native copies
	rests    resting              // where finished stripes are
	removals []raid.Removal       // attempts that came to nothing
	sends    sync.WaitGroup       // Store calls still running, hung ones too
}

// Upload stores a file and returns its record once all its copies and the
// catalog's row are durable. On an error nothing of it is listed, and what
// already lies on nodes is recorded for removal.
//
// Errors: raid.ErrInvalid, raid.ErrTooLarge, raid.ErrTooFewNodes,
// raid.ErrArrayFull, raid.ErrCatalogBehind, raid.ErrNoSpace (the catalog's
// disk), raid.ErrPrecondition (the idempotency key was used meanwhile), the
// body's own, and ctx's.
func (s *Store) Upload(ctx context.Context, u Upload) (raid.File, error) {
	end := s.cfg.Request()
	f, err := s.upload(ctx, u)
	end(err == nil && f.Size <= smallRequest)
	if err != nil {
		s.stats.uploadsFailed.Add(1)
		return raid.File{}, err
	}
	s.stats.uploads.Add(1)
	return f, nil
}

func (s *Store) upload(ctx context.Context, u Upload) (raid.File, error) {
	if err := s.cfg.Nodes.StaleCatalog(); err != nil {
		return raid.File{}, err
	}
	up, err := s.begin(ctx, u)
	if err != nil {
		return raid.File{}, err
	}
	defer up.cancel(nil)
	stop := context.AfterFunc(s.ctx, func() { up.cancel(context.Cause(s.ctx)) })
	defer stop()
	s.setUnderWay(up, true)
	f, err := up.run()
	if err != nil {
		up.cancel(err)
		up.abandon(err)
		return f, err
	}
	s.setUnderWay(up, false)
	return f, nil
}

// begin draws the upload's identity.
func (s *Store) begin(ctx context.Context, u Upload) (*upload, error) {
	if s.cfg.StripeSize == 0 && max(u.Size, 0) > s.cfg.MaxWholeFile {
		return nil, s.tooLargeWhole()
	}
	id, err := s.cfg.Writer.NextID(ctx)
	if err != nil {
		return nil, fmt.Errorf("reserve a file id: %w", err)
	}
	uid, err := raid.NewUploadID(s.cfg.Run, s.cfg.Random)
	if err != nil {
		return nil, err
	}
	up := &upload{s: s, u: u, hash: sha256.New(), nodes: map[raid.NodeID]bool{}}
	up.ctx, up.cancel = context.WithCancelCause(ctx)
	up.file = raid.File{ID: id, Upload: uid, Level: s.cfg.Level.Name, StripeSize: s.cfg.StripeSize}
	if s.cfg.StripeSize == 0 {
		up.file.StripeSize = s.cfg.MaxWholeFile
	}
	return up, nil
}

func (s *Store) tooLargeWhole() error {
	return fmt.Errorf("%w: stripe_size is \"file\", which limits files to %d bytes (max_whole_file)", raid.ErrTooLarge, s.cfg.MaxWholeFile)
}

// run reads, sends and commits.
func (up *upload) run() (raid.File, error) {
	for i := int64(0); ; i++ {
		st, last, err := up.readStripe(i)
		if err != nil {
			return raid.File{}, err
		}
		var meta *raid.FileMeta
		if last {
			if meta, err = up.describe(i + 1); err != nil {
				st.buf.Release()
				return raid.File{}, err
			}
		}
		up.jobs = append(up.jobs, up.send(i, st, meta))
		if last {
			return up.commit()
		}
		if err := up.collect(false); err != nil {
			return raid.File{}, err
		}
	}
}

// readStripe reads stripe i and tells whether it is the last.
func (up *upload) readStripe(i int64) (filled, bool, error) {
	want := up.stripeBound()
	buf, err := up.buffer(int(want + up.s.cfg.Level.Extra(want)))
	if err != nil {
		return filled{}, false, err
	}
	n, eof, err := up.fill(buf.Bytes()[:want])
	if err == nil && !eof {
		eof, err = up.atEOF()
	}
	switch {
	case err != nil:
	case eof && up.u.Size >= 0 && up.read != up.u.Size:
		err = fmt.Errorf("%w: the body ended after %d of %d bytes", raid.ErrInvalid, up.read, up.u.Size)
	case !eof && up.u.Size >= 0 && up.read > up.u.Size:
		err = fmt.Errorf("%w: the body is longer than the %d bytes announced", raid.ErrInvalid, up.u.Size)
	case !eof && up.s.cfg.StripeSize == 0:
		err = up.s.tooLargeWhole()
	case !eof && want < up.file.StripeSize:
		err = fmt.Errorf("%w: the body is longer than its request allows", raid.ErrInvalid)
	case !eof && i >= raid.MaxStripe:
		err = fmt.Errorf("%w: a file has at most %d stripes of %d bytes", raid.ErrTooLarge, int64(raid.MaxStripe)+1, up.file.StripeSize)
	}
	if err != nil {
		buf.Release()
		return filled{}, false, err
	}
	return filled{buf: buf, data: buf.Bytes()[:n], extra: buf.Bytes()[want:]}, eof, nil
}

// filled is a stripe in memory.
type filled struct {
	buf   *budget.Buffer
	data  []byte // what of buf holds bytes
	extra []byte // what of it the level needs to cut them
}

// stripeBound bounds the bytes of the next stripe.
func (up *upload) stripeBound() int64 {
	switch {
	case up.u.Size >= 0:
		return min(up.file.StripeSize, up.u.Size-up.read+int64(len(up.peeked)))
	case up.u.Bound >= 0:
		return min(up.file.StripeSize, max(up.u.Bound-up.read+int64(len(up.peeked)), 1))
	}
	return up.file.StripeSize
}

// buffer takes memory for a stripe of n bytes. The first is granted. Further ones,
// which only read ahead, wait until the shared pool has room or the oldest
// stripe of this upload is done.
func (up *upload) buffer(n int) (*budget.Buffer, error) {
	for {
		if len(up.jobs) == 0 {
			if n <= grantedStripe {
				return up.s.cfg.Pool.Get(n), nil
			}
			return up.s.cfg.Pool.Acquire(up.ctx, n)
		}
		if len(up.jobs) < stripesAhead {
			if b, ok := up.s.cfg.Pool.TryGet(n); ok {
				return b, nil
			}
		}
		if err := up.collect(true); err != nil {
			return nil, err
		}
	}
}

// fill reads into b until it is full or the body ends, hashing as it goes.
func (up *upload) fill(b []byte) (n int, eof bool, err error) {
	n = copy(b, up.peeked)
	up.peeked = nil
	for n < len(b) {
		if err := context.Cause(up.ctx); err != nil {
			return n, false, err
		}
		if err := up.collect(false); err != nil { // a slow client must not hold what is done
			return n, false, err
		}
		step := b[n:min(len(b), n+readStep)]
		k, err := readFull(up.u.Body, step)
		up.hash.Write(step[:k])
		up.took(k)
		n += k
		if err == io.EOF { //nolint:errorlint // only the plain EOF ends a body; a wrapped one is a failure
			return n, true, nil
		}
		if err != nil {
			return n, false, up.bodyError(err)
		}
	}
	return n, false, nil
}

// readFull fills b and returns the reader's own error when it can't. io.ReadFull
// would turn EOF into ErrUnexpectedEOF, which is also what net/http's body says
// when its client went away.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}

func (up *upload) took(n int) {
	up.read += int64(n)
	up.s.stats.bytesIn.Add(int64(n))
}

// atEOF looks whether the body has ended, keeping the byte that says no.
func (up *upload) atEOF() (bool, error) {
	var one [1]byte
	switch _, err := readFull(up.u.Body, one[:]); {
	case err == io.EOF: //nolint:errorlint // as in fill
		return true, nil
	case err != nil:
		return false, up.bodyError(err)
	}
	up.hash.Write(one[:])
	up.took(1)
	up.peeked = one[:]
	return false, nil
}

func (up *upload) bodyError(err error) error {
	if cause := context.Cause(up.ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("read the upload: %w", err)
}

// describe checks what must be right before the last stripe may be sent, and
// completes the file's record.
func (up *upload) describe(stripes int64) (*raid.FileMeta, error) {
	d, err := up.u.Describe()
	if err != nil {
		return nil, err
	}
	up.hash.Sum(up.file.SHA256[:0])
	for _, want := range []*[32]byte{up.u.SHA256, d.SHA256} {
		if want != nil && *want != up.file.SHA256 {
			return nil, fmt.Errorf("%w: the body's SHA-256 is %x, the request says %x", raid.ErrInvalid, up.file.SHA256, *want)
		}
	}
	f := &up.file
	f.Filename, f.ContentType, f.Size, f.Stripes = d.Filename, d.ContentType, up.read, stripes
	f.Created = time.Now().UTC().Format(time.DateTime)
	if up.s.cfg.StripeSize == 0 {
		f.StripeSize = max(f.Size, 1)
	}
	if err := (stripe.Layout{Level: up.s.cfg.Level, StripeSize: f.StripeSize, Size: f.Size}).Valid(); err != nil {
		return nil, err
	}
	return &raid.FileMeta{
		ID: f.ID, Filename: f.Filename, ContentType: f.ContentType, Created: f.Created,
		Size: f.Size, SHA256: f.SHA256, Stripes: f.Stripes,
	}, nil
}

// collect takes finished stripes from the front, waiting for the oldest one if wait
// is set, and writes the rows of a long upload.
func (up *upload) collect(wait bool) error {
	for len(up.jobs) > 0 {
		j := up.jobs[0]
		if wait {
			<-j.done
			wait = false
		}
		select {
		case <-j.done:
		default:
			return up.appendIfMany()
		}
		if j.err != nil {
			return j.err
		}
		j.buf.Release()
		up.jobs = up.jobs[1:]
		up.keep(j)
	}
	return up.appendIfMany()
}

// appendIfMany writes rows once there are enough for a transaction.
// Stripes may still be under way, as they are all the time when the client is the faster side.
func (up *upload) appendIfMany() error {
	if len(up.parts) < appendEvery*2 {
		return nil
	}
	return up.appendRows()
}

// keep takes over the parts of a finished stripe. Whether they leave the file
// degraded, or resting on lab nodes, the catalog sees by itself.
func (up *upload) keep(j *stripeUpload) {
	up.parts = append(up.parts, j.parts...)
	up.mu.Lock()
	defer up.mu.Unlock()
	up.rests.add(j.parts)
}

func (up *upload) appendRows() error {
	if !up.begun {
		if err := up.s.cfg.Writer.Begin(up.ctx, up.file); err != nil {
			return err
		}
		up.begun = true
	}
	if err := up.s.cfg.Writer.Append(up.ctx, up.file.ID, up.parts); err != nil {
		return err
	}
	up.parts = up.parts[:0]
	return nil
}

// commit waits for the last stripes and makes the file.
func (up *upload) commit() (raid.File, error) {
	for _, j := range up.jobs {
		<-j.done
		if j.err != nil {
			return raid.File{}, j.err
		}
	}
	for _, j := range up.jobs { // their bytes are still here
		if err := up.replaceLost(j); err != nil {
			return raid.File{}, err
		}
	}
	lost := up.lostNodes()
	for _, j := range up.jobs {
		j.buf.Release()
		up.keep(j)
	}
	up.jobs = nil
	fin := raid.FinishedUpload{File: up.file, Parts: up.parts, Begun: up.begun, Lost: lost, Removals: up.takeRemovals(), Idempotency: up.u.Idempotency}
	if err := up.s.cfg.Nodes.StaleCatalog(); err != nil {
		up.giveBack(fin.Removals)
		return raid.File{}, err
	}
	// From here on the outcome is the catalog's: a client that goes away must
	// not leave a commit half decided.
	f, err := up.s.cfg.Writer.Finish(context.WithoutCancel(up.ctx), fin)
	if err != nil {
		up.giveBack(fin.Removals)
		return raid.File{}, err
	}
	if len(fin.Removals) > 0 || f.Degraded {
		up.s.cfg.Wake()
	}
	return f, nil
}

// lostNodes are those that acknowledged copies and are not there any more.
func (up *upload) lostNodes() (lost []raid.NodeID) {
	up.mu.Lock()
	defer up.mu.Unlock()
	for id := range up.nodes {
		if _, ok := up.s.cfg.Nodes.Peer(id); !ok {
			lost = append(lost, id)
		}
	}
	return lost
}

func (up *upload) takeRemovals() []raid.Removal {
	up.mu.Lock()
	defer up.mu.Unlock()
	r := up.removals
	up.removals = nil
	return r
}

func (up *upload) giveBack(r []raid.Removal) {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.removals = append(up.removals, r...)
}

// abandon records, once no send is under way any more, what may lie on nodes.
// The client has its answer by then.
func (up *upload) abandon(cause error) {
	up.s.spawn(func() { // when the daemon ends instead, the next start cleans up
		defer up.s.setUnderWay(up, false)
		up.sends.Wait()
		removals := up.takeRemovals()
		for _, j := range up.jobs {
			<-j.done
			removals = append(removals, j.attempted()...)
			j.buf.Release()
		}
		for i := range up.parts {
			for _, c := range up.parts[i].Copies {
				if c.Node != "" {
					removals = append(removals, raid.Removal{Node: c.Node, Key: up.parts[i].Key(up.file.Upload, c)})
				}
			}
		}
		if errors.Is(cause, raid.ErrCatalogBroken) || !up.begun && len(removals) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), backgroundLimit)
		defer cancel()
		if err := up.s.cfg.Writer.Abandon(ctx, up.file, removals); err != nil {
			up.s.cfg.Log.Error("record an abandoned upload: its chunks stay until the next start", "upload", up.file.Upload, "error", err)
			return
		}
		up.s.cfg.Wake()
	})
}
