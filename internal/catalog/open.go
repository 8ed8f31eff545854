package catalog

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// readers is the number of calls that read at once; more wait.
const readers = 3

// options are replaced by tests.
type options struct {
	vfs        string // SQLite's name of the file system
	migrations []migration
	checkpoint int           // pages
	busy       time.Duration // how long another program's lock is waited for
	look       time.Duration // between two looks at a long step
	slow, rest time.Duration // of the checks that go on; slowEvery and checkRest when 0
}

// Open opens the catalog at cfg.Path, making it when there is none.
// It locks it against a second controller, brings its schema up to date (an older one is
// copied beside it first), and makes the new run number durable. It fails with
// raid.ErrBusy when another process has it open, with raid.ErrNoSpace when there is
// no room for the copy, and with ErrRefused when a person has to see to it.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	return open(ctx, cfg, options{migrations: migrations(), checkpoint: checkpointPages, busy: 2 * time.Second, look: lookEvery})
}

func open(ctx context.Context, cfg Config, opt options) (_ *Catalog, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", cfg.Path, err)
	}
	room := &ballast{path: cfg.Ballast, reserve: cfg.Reserve, log: cfg.Log}
	lock, err := claim(cfg.Path, func() error { room.keep(); return nil })
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", cfg.Path, err)
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	h := newHealth(cfg.Log)
	c := &Catalog{keep: cfg.Keep, health: h, path: cfg.Path, wall: &wallClock{read: cfg.Wall}, log: cfg.Log, started: time.Now(), lock: lock, closing: make(chan struct{})}
	c.writer = &writer{
		log: cfg.Log, random: cfg.Random, path: cfg.Path, reserve: cfg.Reserve, spare: room, checkpointAt: opt.checkpoint, restartAt: patience * opt.checkpoint,
		reading: &c.reading, now: c.wall.text, ran: c.ran, base: c.committed, keep: c.publish, carried: c.carried, health: h,
	}
	c.readers = make(chan *conn, readers)
	if err := c.prepare(ctx, cfg, opt); err != nil {
		c.abort()
		if damaged(err) && !errors.Is(err, ErrRefused) {
			err = refuseDamaged(cfg.Path, len(opt.migrations), err)
		}
		return nil, fmt.Errorf("open catalog %s: %w", cfg.Path, inWords(err))
	}
	c.writer.start()
	c.checker.start()
	return c, nil
}

// prepare opens the connections and begins the run.
func (c *Catalog) prepare(ctx context.Context, cfg Config, opt options) (err error) {
	query := url.Values{}
	if opt.vfs != "" {
		query.Set("vfs", opt.vfs)
	}
	busy := fmt.Sprintf("busy_timeout = %d", opt.busy.Milliseconds())
	if err := c.checkLog(query); err != nil {
		return err
	}
	if err := c.seal(ctx, cfg, opt, query); err != nil {
		return err
	}
	if err := c.examine(query, busy, len(opt.migrations)); err != nil {
		return err
	}
	// Checkpoints are the writer's own; see group.go.
	c.writer.conn, err = openConn(c.path, query, busy, "journal_mode = WAL", "synchronous = FULL",
		"wal_autocheckpoint = 0", "journal_size_limit = 16777216", "temp_store = MEMORY", "cache_size = -4096")
	if err != nil {
		return err
	}
	if err := c.update(ctx, cfg, opt); err != nil {
		return err
	}
	if err := c.begin(cfg); err != nil {
		return err
	}
	c.recall()
	query.Set("mode", "ro")
	c.query = query
	for range readers {
		// Reading once takes the shared lock that a connection in WAL mode keeps.
		r, err := openConn(c.path, query, busy, "cache_size = -1024", "temp_store = MEMORY", "user_version")
		if err != nil {
			return err
		}
		c.readers <- r
	}
	return nil
}

// update brings the schema up to date. Before and after it the log is moved into the
// database. What a change of a large catalog leaves in it may take minutes, and the
// first small write would pay for that, when the daemon is watched already.
func (c *Catalog) update(ctx context.Context, cfg Config, opt options) error {
	p := progress{tell: cfg.Progress, every: opt.look}
	moveLog := func() error {
		return p.during("moving the log into the catalog", 0, touched(c.path, c.path+"-wal"), c.emptyLog)
	}
	if err := moveLog(); err != nil {
		return err
	}
	m := migrator{conn: c.writer.conn, path: c.path, steps: opt.migrations, progress: p, log: c.log}
	changed, err := m.run(ctx)
	if err != nil || !changed {
		return err
	}
	return moveLog()
}

// abort closes what a failed open has opened.
func (c *Catalog) abort() {
	if c.writer.conn != nil {
		_ = c.writer.conn.close()
	}
	for len(c.readers) > 0 {
		_ = (<-c.readers).close()
	}
	if c.unwatch != nil {
		c.unwatch()
	}
	if c.checker.file != nil {
		_ = c.checker.file.Close()
	}
	_ = c.lock.Close()
}

// emptyLog moves what the last run left in the log into the database, before
// anything is added to it. If that run ended at a failed flush, what is read from
// the log now may not be on disk, and what comes after it would be lost with it.
func (c *Catalog) emptyLog() error {
	w := c.writer.conn
	mode := ""
	if err := w.query(func(r []driver.Value) error { mode = text(r[0]); return nil }, "PRAGMA journal_mode"); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("%w: %w: SQLite can't keep a write-ahead log here (journal mode %q); use a local disk", ErrRefused, raid.ErrUnsupported, mode)
	}
	return checkpointed(w)
}

// checkpointed moves all of the log into the database.
func checkpointed(w *conn) error {
	return w.query(func(r []driver.Value) error {
		if integer(r[0]) != 0 {
			return fmt.Errorf("%w: another program is reading the catalog; end it", raid.ErrBusy)
		}
		return nil
	}, "PRAGMA wal_checkpoint(TRUNCATE)")
}
