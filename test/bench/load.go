package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// load is a number of equal objects, handled by some clients at once.
type load struct {
	name    string // "64MiB"
	size    int64  // bytes of each object
	clients int
	count   int // objects in a round
}

// outcome says what one round of a load took.
type outcome struct {
	ops     int
	bytes   int64
	elapsed time.Duration
	cpu     time.Duration // of all daemons; of the floor itself
	longest time.Duration // request
}

func (o outcome) megabytes() float64 { return float64(o.bytes) / 1e6 / o.elapsed.Seconds() }
func (o outcome) opsPerSec() float64 { return float64(o.ops) / o.elapsed.Seconds() }
func (o outcome) cpuPerGB() float64  { return o.cpu.Seconds() / (float64(o.bytes) / 1e9) }

// client sends requests to the array.
type client struct {
	api  *cluster.API
	sand sand
	next atomic.Int64 // number of the next new object
}

func newClient(url string) *client {
	return &client{sand: newSand(), api: &cluster.API{URL: url, HTTP: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	}}}}
}

// put stores an object that never was before.
func (c *client) put(ctx context.Context, size int64) (*object, error) {
	o := &object{number: int(c.next.Add(1)), size: size}
	created, err := c.api.Upload(ctx, fmt.Sprintf("bench-%d", o.number), &body{sand: c.sand, obj: o}, size)
	if err != nil {
		return nil, fmt.Errorf("put object %d: %w", o.number, err)
	}
	o.id = created.ID
	return o, nil
}

// get reads an object and compares its checksum.
func (c *client) get(ctx context.Context, o *object, buf []byte) error {
	r, err := c.api.Download(ctx, o.id)
	if err != nil {
		return fmt.Errorf("get object %d: %w", o.number, err)
	}
	defer r.Close()
	var crc uint32
	var size int64
	for {
		n, err := r.Read(buf)
		crc = crc32.Update(crc, castagnoli, buf[:n])
		size += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("get object %d: after %d bytes: %w", o.number, size, err)
		}
	}
	if size != o.size || crc != o.crc {
		return fmt.Errorf("get object %d: %d bytes with CRC-32C %08x, want %d with %08x", o.number, size, crc, o.size, o.crc)
	}
	return nil
}

// readBuffer is the number of bytes that a client reads at once.
const readBuffer = 256 << 10

// putAll stores a round of objects.
func (c *client) putAll(ctx context.Context, l load) ([]*object, outcome, error) {
	stored := make([]*object, l.count)
	out, err := l.each(func(i int, _ []byte) (err error) {
		stored[i], err = c.put(ctx, l.size)
		return err
	})
	return stored, out, err
}

// getAll reads the objects of a round.
func (c *client) getAll(ctx context.Context, l load, stored []*object) (outcome, error) {
	return l.each(func(i int, buf []byte) error { return c.get(ctx, stored[i], buf) })
}

// removeAll deletes the objects of a round.
func (c *client) removeAll(ctx context.Context, l load, stored []*object) error {
	_, err := l.each(func(i int, _ []byte) error { return c.api.Delete(ctx, stored[i].id) })
	return err
}

// each does something count times with all clients, and stops at the first error.
func (l load) each(do func(i int, buf []byte) error) (out outcome, err error) {
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, l.clients)
	longest := make([]time.Duration, l.clients)
	began := time.Now()
	var wg sync.WaitGroup
	for worker := range l.clients {
		wg.Go(func() {
			buf := make([]byte, readBuffer)
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= l.count {
					return
				}
				start := time.Now()
				if errs[worker] = do(i, buf); errs[worker] != nil {
					failed.Store(true)
					return
				}
				longest[worker] = max(longest[worker], time.Since(start))
			}
		})
	}
	wg.Wait()
	out = outcome{ops: l.count, bytes: int64(l.count) * l.size, elapsed: time.Since(began), longest: slices.Max(longest)}
	for _, err := range errs {
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
