package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// memoryFile has WriteN as object.Reader has it: pieces of 1 MiB, not copied.
type memoryFile struct{ *memReader }

func (m memoryFile) WriteN(w io.Writer, n int64) (written int64, err error) {
	data := m.s.files[1].data
	off := m.Size() - int64(m.Len())
	for written < n && err == nil {
		var k int
		k, err = w.Write(data[off:min(off+1<<20, off+n-written)])
		written += int64(k)
		off += int64(k)
	}
	return written, err
}

// benchDownload reads a file over and over, on one connection per worker, with a
// client that does next to nothing.
func benchDownload(b *testing.B, size int, secure bool) {
	st := newStore()
	st.wrap = func(r *memReader) io.ReadSeekCloser { return memoryFile{r} }
	st.files[1] = stored{File: raid.File{ID: 1, Filename: "file.bin", ContentType: "a/b", Size: int64(size)}, data: make([]byte, size)}
	api := New(Config{Files: st, Index: st, Log: slog.New(slog.DiscardHandler)})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	own, trust := kit.Certificate()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() {
		done <- api.Serve(ctx, httpserver.NewListener(ln, httpserver.ListenerConfig{TLS: portTLS(own), Log: slog.New(slog.DiscardHandler)}))
	}()
	defer func() { cancel(); <-done }()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		if secure {
			c = tls.Client(c, &tls.Config{RootCAs: trust, ServerName: "127.0.0.1"})
		}
		in := bufio.NewReaderSize(c, 256<<10)
		for pb.Next() {
			io.WriteString(c, "GET /files/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if err := skipAnswer(in, size); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// skipAnswer reads over one answer's header and its body.
func skipAnswer(in *bufio.Reader, size int) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
	}
	for left := size; left > 0; {
		if in.Buffered() == 0 {
			in.Peek(1)
		}
		n, err := in.Discard(min(left, in.Buffered()))
		if left -= n; err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkDownload64MiB(b *testing.B)    { benchDownload(b, 64<<20, false) }
func BenchmarkDownload4KiB(b *testing.B)     { benchDownload(b, 4<<10, false) }
func BenchmarkDownload64MiBTLS(b *testing.B) { benchDownload(b, 64<<20, true) }
func BenchmarkDownload4KiBTLS(b *testing.B)  { benchDownload(b, 4<<10, true) }
