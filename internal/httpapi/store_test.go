package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/raid"
)

// store keeps files in memory, behaving towards the API as the array does.
type store struct {
	mu    sync.Mutex
	next  raid.FileID
	files map[raid.FileID]stored
	keys  map[string]stored
	trash map[raid.FileID]stored

	// How it misbehaves, set before use.
	uploadErr error                                // instead of reading the body
	room      int64                                // for files, 0: no end of it
	readErr   error                                // of Read
	readFrom  int64                                // from which offset on Read fails
	wrap      func(*memReader) io.ReadSeekCloser   // what Open returns
	discard   bool                                 // keep no contents
	hold      chan struct{}                        // an upload waits for it after its body
	change    func(*raid.File)                     // of the record that Upload makes
	namesErr  error                                // after the names of the first stripe
	listErr   error                                // after the last file
	open      int                                  // readers
	opened    int                                  // readers, ever
	aborted   int                                  // uploads that failed
	onRead    func(ctx context.Context, off int64) // before each Read
}

type stored struct {
	raid.File
	data []byte
	key  *raid.IdempotencyKey
}

func newStore() *store {
	return &store{files: map[raid.FileID]stored{}, keys: map[string]stored{}, trash: map[raid.FileID]stored{}}
}

func (s *store) CheckRoom(size int64) error {
	if s.room > 0 && size > s.room {
		return fmt.Errorf("%w: there is room for %d bytes", raid.ErrArrayFull, s.room)
	}
	return nil
}

func (s *store) Upload(ctx context.Context, u object.Upload) (raid.File, error) {
	f, err := s.upload(ctx, u)
	if err != nil {
		s.mu.Lock()
		s.aborted++
		s.mu.Unlock()
	}
	return f, err
}

func (s *store) upload(ctx context.Context, u object.Upload) (raid.File, error) {
	if s.uploadErr != nil {
		return raid.File{}, s.uploadErr
	}
	var buf bytes.Buffer
	var dst io.Writer = &buf
	if s.discard {
		dst = io.Discard
	}
	h := sha256.New()
	// Through an odd-sized buffer: readers must not rely on what they are given.
	n, err := io.CopyBuffer(io.MultiWriter(dst, h), struct{ io.Reader }{u.Body}, make([]byte, 10007))
	if err != nil {
		return raid.File{}, fmt.Errorf("read the upload: %w", err)
	}
	if u.Size >= 0 && n != u.Size || u.Bound >= 0 && n > u.Bound {
		return raid.File{}, fmt.Errorf("%w: %d bytes, announced were %d, at most %d", raid.ErrInvalid, n, u.Size, u.Bound)
	}
	d, err := u.Describe()
	if err != nil {
		return raid.File{}, err
	}
	f := raid.File{Filename: d.Filename, ContentType: d.ContentType, Size: n, Stripes: 1, Level: "raid1",
		Created: "2024-02-29 12:30:00", StripeSize: 4 << 20, PartNames: [][]raid.ChunkName{{"a1", "a2"}, {"b1", "b2"}}}
	h.Sum(f.SHA256[:0])
	for _, want := range []*[32]byte{u.SHA256, d.SHA256} {
		if want != nil && *want != f.SHA256 {
			return raid.File{}, fmt.Errorf("%w: the body's SHA-256 is another", raid.ErrInvalid)
		}
	}
	if s.change != nil {
		s.change(&f)
	}
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			time.Sleep(50 * time.Millisecond) // ending takes a moment
			return raid.File{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	f.ID = s.next
	st := stored{File: f, data: buf.Bytes(), key: u.Idempotency}
	s.files[f.ID] = st
	if u.Idempotency != nil {
		s.keys[u.Idempotency.Key] = st
	}
	return f, nil
}

func (s *store) File(_ context.Context, id raid.FileID) (raid.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[id]
	if !ok {
		return raid.File{}, fmt.Errorf("look up file %d: %w", id, raid.ErrNotFound)
	}
	return f.File, nil
}

func (s *store) Names(_ context.Context, f raid.File, part int) iter.Seq2[raid.ChunkName, error] {
	return func(yield func(raid.ChunkName, error) bool) {
		for i := range f.Stripes {
			for c := range 2 {
				if !yield(raid.ChunkName(fmt.Sprintf("%c%dx%d", 'a'+part-1, i, c+1)), nil) {
					return
				}
			}
			if s.namesErr != nil {
				yield("", s.namesErr)
				return
			}
		}
	}
}

func (s *store) Files(_ context.Context, q raid.FileQuery) iter.Seq2[raid.File, error] {
	s.mu.Lock()
	var all []raid.File
	for _, f := range s.files {
		if f.ID > q.After && strings.Contains(f.Filename, q.Filename) && (!q.Lost || strings.HasPrefix(f.Filename, "lost")) {
			all = append(all, f.File)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b raid.File) int { return cmp.Compare(a.ID, b.ID) })
	return func(yield func(raid.File, error) bool) {
		for i, f := range all {
			if q.Limit > 0 && i == q.Limit || !yield(f, nil) {
				return
			}
		}
		if s.listErr != nil {
			yield(raid.File{}, s.listErr)
		}
	}
}

func (s *store) FindKey(_ context.Context, key string) (raid.FileID, [32]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.keys[key]
	if !ok {
		return 0, [32]byte{}, false, nil
	}
	return f.ID, f.key.Fingerprint, true, nil
}

func (s *store) Delete(_ context.Context, id raid.FileID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.files[id]; !ok {
		return fmt.Errorf("delete file %d: %w", id, raid.ErrNotFound)
	}
	s.trash[id] = s.files[id]
	delete(s.files, id)
	return nil
}

func (s *store) Open(ctx context.Context, f raid.File) (io.ReadSeekCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.opened++
	r := &memReader{s: s, ctx: ctx, Reader: bytes.NewReader(s.files[f.ID].data)}
	if s.wrap != nil {
		return s.wrap(r), nil
	}
	return onlyRead{r}, nil
}

// count returns how many files there are.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files)
}

// memReader reads a stored file. It has WriteTo from bytes.Reader; WriteN is
// added by directReader, and onlyRead takes both away.
type memReader struct {
	*bytes.Reader
	s   *store
	ctx context.Context
}

func (r *memReader) Read(p []byte) (int, error) {
	off := r.Size() - int64(r.Len())
	if r.s.onRead != nil {
		r.s.onRead(r.ctx, off)
	}
	if r.s.readErr != nil {
		if off >= r.s.readFrom {
			return 0, r.s.readErr
		}
		p = p[:min(int64(len(p)), r.s.readFrom-off)]
	}
	return r.Reader.Read(p)
}

func (r *memReader) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.open--
	return nil
}

type onlyRead struct{ io.ReadSeekCloser }

type directReader struct{ *memReader }

func (d directReader) WriteN(w io.Writer, n int64) (int64, error) {
	return io.Copy(w, io.LimitReader(struct{ io.Reader }{d.memReader}, n))
}
