package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync"
)

// source gives an upload its bytes, over all its attempts. net/http reads it in a goroutine of its
// own, hence the lock.
type source struct {
	r     io.Reader
	seek  io.Seeker // nil: can be read once
	start int64     // where seek stood
	size  int64     // -1: up to the end

	mu   sync.Mutex
	sum  hash.Hash
	n    int64  // bytes read since the last rewind
	buf  []byte // of readSome
	used bool   // a byte was asked for
	err  error  // reading failed; io.EOF at the end
}

func newSource(u Upload) (*source, error) {
	s := &source{r: u.Body, size: u.Size, sum: sha256.New()}
	if s.r == nil {
		s.r, s.size = eof{}, 0
	}
	if seeker, ok := u.Body.(io.Seeker); ok {
		// A pipe is an *os.File too, but refuses this.
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			s.seek, s.start = seeker, start
		}
	}
	if s.size < -1 {
		return nil, fmt.Errorf("%w: size %d", ErrSource, s.size)
	}
	return s, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// again tells whether the source can be read from its beginning.
func (s *source) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seek != nil || !s.used
}

// rewind goes back to the beginning.
func (s *source) rewind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used {
		return nil
	}
	if _, err := s.seek.Seek(s.start, io.SeekStart); err != nil {
		return fmt.Errorf("%w again: %w", ErrSource, err)
	}
	s.sum.Reset()
	s.n, s.err = 0, nil
	return nil
}

// failed returns the reason why reading the source failed, or nil.
func (s *source) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == io.EOF { //nolint:errorlint // a reader's bare EOF
		return nil
	}
	return s.err
}

// read reads on and returns the total. The end of ctx ends it too.
func (s *source) read(ctx context.Context, p []byte) (n int, total int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	if s.err != nil {
		return 0, s.n, s.err
	}
	if s.size >= 0 {
		if s.n == s.size {
			s.err = io.EOF
			return 0, s.n, io.EOF
		}
		p = p[:min(int64(len(p)), s.size-s.n)]
	}
	n, err = s.readSome(ctx, p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.EOF
		if s.n < s.size {
			err = fmt.Errorf("it ended after %d of %d bytes; was it changed meanwhile?", s.n, s.size)
		}
	}
	s.err = err
	return n, s.n, err
}

// readSome reads once. Whatever is not known to be a file may hang, as a pipe does whose writer is
// silent. net/http ends no request before its body's Read has returned. So such a Read gets a
// goroutine, which ctx leaves behind: nothing can end it but its reader.
func (s *source) readSome(ctx context.Context, p []byte) (int, error) {
	if s.seek != nil {
		return s.r.Read(p)
	}
	type result struct {
		n   int
		err error
	}
	if len(s.buf) < len(p) {
		s.buf = make([]byte, len(p))
	}
	buf, done := s.buf[:len(p)], make(chan result, 1)
	go func() {
		n, err := s.r.Read(buf)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-ctx.Done():
		s.buf = nil
		return 0, ctx.Err()
	}
}

// digest is the SHA-256 of what was read so far.
func (s *source) digest() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum.Sum(nil)
}

// compare completes stored and checks that the array got what is here.
func (s *source) compare(stored *Stored, answer http.Header) error {
	want, told := digestOf(answer)
	if !s.whole() {
		// A repeated upload is answered from the first one's success, unread.
		if err := s.readAll(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored.Size = s.n
	s.sum.Sum(stored.SHA256[:0])
	if told && want != stored.SHA256 {
		return &DigestError{What: fmt.Sprintf("file %d as it was stored", stored.ID), Got: want, Want: stored.SHA256}
	}
	return nil
}

// whole tells whether the last reading came to the end.
func (s *source) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n == s.size || s.size < 0 && s.err == io.EOF //nolint:errorlint // a reader's bare EOF
}

// readAll reads the source once more, for its digest.
func (s *source) readAll() error {
	if !s.again() {
		return fmt.Errorf("%w to its end: the controller answered before that", ErrSource)
	}
	if err := s.rewind(); err != nil {
		return err
	}
	buf := make([]byte, copyBuffer)
	for {
		switch _, _, err := s.read(context.Background(), buf); err {
		case nil:
		case io.EOF: //nolint:errorlint // read's own, bare
			return nil
		default:
			return fmt.Errorf("%w: %w", ErrSource, err)
		}
	}
}

// body is a source as one request reads it.
type body struct {
	src      *source
	watch    *watch
	progress func(int64)
	trailer  http.Header // gets the digest at the end; may be nil
	once     sync.Once
	closed   chan struct{}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if err := b.watch.ctx.Err(); err != nil {
		return 0, err
	}
	b.watch.pause()
	n, total, err := b.src.read(b.watch.ctx, p)
	b.watch.touch()
	if err == io.EOF && b.trailer != nil { //nolint:errorlint // a reader's bare EOF
		b.trailer.Set("Repr-Digest", formatDigest(b.src.digest()))
	}
	if n > 0 && b.progress != nil {
		b.progress(total)
	}
	return n, err
}

// Close implements io.Closer. net/http calls it when it will not read any more.
func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// settle waits until net/http does not read any more, which is soon after the
// end of the watch.
func (b *body) settle() { <-b.closed }
