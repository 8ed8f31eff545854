package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// A start reads all of the catalog once, a little at a time: each page against its
// seal, and the indexes against their tables. Until that is done nothing is removed on
// the catalog's word. Later it is read again and again, slowly. Nothing is written.
const (
	slicePages = 64              // of 4 KiB at once: what a write that needs the disk waits for
	sliceRows  = 500             // of a table or index at once
	slowEvery  = 2 * time.Second // between two slices, after the first time
	checkRest  = time.Hour       // between two beginnings, at least
)

// checker checks the catalog. It has one goroutine.
type checker struct {
	c      *Catalog
	file   *os.File      // the database, as it is on the disk
	step   time.Duration // slowEvery
	rest   time.Duration // checkRest
	slice  []byte        // of pages
	cancel context.CancelFunc
	done   chan struct{}
}

func (k *checker) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go func() {
		defer close(k.done)
		k.run(ctx)
	}()
}

func (k *checker) stop() {
	k.cancel()
	<-k.done
}

// run checks until ctx ends, or the catalog is known to be damaged. Then a
// person has to see to it, and more reading would only wear a card that dies.
func (k *checker) run(ctx context.Context) {
	h := k.c.health
	pace := k.quick
	for {
		began := time.Now()
		err := k.pass(ctx, pace)
		doubted := h.doubt.Load()
		if err == nil && doubted {
			err = k.settleDoubt(ctx)
		}
		switch {
		case ctx.Err() != nil || h.damaged.Load() != nil:
			return
		case err != nil: // a disk that gives errors, a lock: no verdict
			h.log.Warn("the catalog could not be checked; it is tried again", "error", err)
		case h.doubt.Load(): // met since
			continue
		default:
			first := !h.checked.Swap(true)
			if first {
				h.log.Info("the catalog is checked: each page, and the indexes against their tables", "seconds", int(time.Since(began).Seconds()))
			}
			if first || doubted {
				h.tellCleared()
			}
			pace = k.slow
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-time.After(max(k.step, k.rest-time.Since(began))):
		}
	}
}

// quick leaves half of the time to others, slow nearly all.
func (k *checker) quick(ctx context.Context, took time.Duration) error { return k.wait(ctx, took) }
func (k *checker) slow(ctx context.Context, took time.Duration) error {
	return k.wait(ctx, max(k.step, took))
}

func (k *checker) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// pass checks everything once. Damage that it finds is noted, and ends it.
func (k *checker) pass(ctx context.Context, pace func(context.Context, time.Duration) error) error {
	more, err := true, error(nil)
	for at := int64(0); more; at += slicePages {
		began := time.Now()
		if more, err = k.pages(at); err != nil {
			return err
		}
		if err := pace(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	for _, w := range walks {
		from := w.first
		for from != nil {
			began := time.Now()
			if from, err = k.rows(ctx, w, from); err != nil {
				return err
			}
			if err := pace(ctx, time.Since(began)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pages checks a slice of the database's pages against their seals, as they are on the
// disk and not in the system's memory. One that is being written meanwhile is read
// once more when it is not.
func (k *checker) pages(from int64) (more bool, err error) {
	_ = unix.Fadvise(int(k.file.Fd()), from*pageSize, slicePages*pageSize, unix.FADV_DONTNEED)
	if k.slice == nil {
		k.slice = make([]byte, slicePages*pageSize)
	}
	b := k.slice
	n, err := k.file.ReadAt(b, from*pageSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the catalog from page %d: %w", from+1, err)
	}
	for i := 0; i+pageSize <= n; i += pageSize {
		number := uint32(from + int64(i)/pageSize + 1)
		v := judgePage(b[i:i+pageSize], number)
		if v != pageGood && v != pageZero { // a zero one may be free; SQLite, if it uses it, is told that it is not good
			v = k.readAgain(number)
		}
		if v == pageForeign || v == pageRotten {
			k.c.health.page(number, v)
		}
		if v == pageRotten {
			return false, raid.ErrCatalogDamaged
		}
	}
	return n == len(b), nil
}

// readAgain judges a page while the log is not moved into the database.
func (k *checker) readAgain(number uint32) verdictOfPage {
	k.c.writer.moving.Lock()
	defer k.c.writer.moving.Unlock()
	page := make([]byte, pageSize)
	if _, err := k.file.ReadAt(page, (int64(number)-1)*pageSize); err != nil {
		return pageZero // it is gone, or can't be read: no verdict
	}
	return judgePage(page, number)
}

// settleDoubt checks everything that SQLite can, and then seals the pages that another
// program wrote.
func (k *checker) settleDoubt(ctx context.Context) error {
	h := k.c.health
	h.log.Info("the catalog is checked by SQLite, since another program wrote to it")
	conn, err := openConn(k.c.path, k.c.query, "cache_size = -4096", "temp_store = MEMORY")
	if err != nil {
		return err
	}
	defer func() { _ = conn.close() }() // it was only read
	if err := integrity(ctx, conn); err != nil {
		h.notice("check the catalog", err)
		return err
	}
	k.c.writer.moving.Lock()
	defer k.c.writer.moving.Unlock()
	sealed, err := sealForeign(ctx, k.file)
	if err != nil {
		return err
	}
	h.doubt.Store(false)
	h.log.Info("the catalog is whole; pages that another program wrote have checksums now", "pages", sealed)
	return nil
}

// integrity has SQLite compare everything with everything.
func integrity(ctx context.Context, conn *conn) error {
	var found []string
	err := conn.longQuery(ctx, func(r []driver.Value) error { found = append(found, text(r[0])); return nil }, "PRAGMA integrity_check(5)")
	if err == nil && (len(found) != 1 || found[0] != "ok") {
		err = fmt.Errorf("%w: %s", raid.ErrCorrupt, strings.Join(found, "; "))
	}
	return err
}

// sealForeign seals the pages that have no seal, durably.
func sealForeign(ctx context.Context, f *os.File) (sealed int, err error) {
	page := make([]byte, pageSize)
	for number := uint32(1); ; number++ {
		if _, err := f.ReadAt(page, (int64(number)-1)*pageSize); errors.Is(err, io.EOF) {
			return sealed, f.Sync()
		} else if err != nil {
			return sealed, fmt.Errorf("read page %d: %w", number, err)
		}
		if err := ctx.Err(); err != nil {
			return sealed, err
		}
		if judgePage(page, number) != pageForeign {
			continue
		}
		sealPage(page, number)
		if _, err := f.WriteAt(page[sealAt:], (int64(number)-1)*pageSize+sealAt); err != nil {
			return sealed, fmt.Errorf("seal page %d: %w", number, err)
		}
		sealed++
	}
}
