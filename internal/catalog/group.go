package catalog

import (
	"database/sql/driver"
	"fmt"

	"modernc.org/sqlite"
)

const (
	// checkpointPages is the length of the log, in pages of 4 KiB, from which on
	// it is moved into the database.
	checkpointPages = 2000
	// patience is the factor by which it may get longer before that waits for
	// readers: they keep the log from being begun anew.
	patience = 8
)

// group runs ops in one transaction and answers each. An op's own failure is its
// own; any other is everyone's.
func (w *writer) group(ops []*op) {
	if len(ops) == 0 {
		return
	}
	results := make([]error, len(ops))
	t, err := w.transact(ops, results)
	if err == nil && t != nil {
		w.keep(t)
	}
	for i, o := range ops {
		switch {
		case err != nil:
			o.done <- fmt.Errorf("%s: %w", o.name, err)
		case results[i] != nil:
			o.done <- fmt.Errorf("%s: %w", o.name, results[i])
		default:
			o.done <- nil
		}
	}
	w.looked()
	if t != nil && err == nil {
		w.checkpoint()
	}
}

// transact begins, runs, commits. It returns the transaction when one was
// committed, and an error when none of the ops happened.
func (w *writer) transact(ops []*op, results []error) (*tx, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	free, err := w.roomFor(ops)
	if err != nil {
		return nil, err
	}
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return nil, w.judged("begin", err)
	}
	t := &tx{conn: w.conn, log: w.log, random: w.random, now: w.now, ran: w.ran, base: w.base()}
	t.meta = t.base.meta
	for i, o := range ops {
		if results[i] = w.may(o, free); results[i] != nil {
			continue
		}
		if err := w.runOne(t, o, &results[i]); err != nil {
			return nil, w.rollback(err)
		}
	}
	if !t.changed {
		return nil, w.rollback(nil)
	}
	if err := t.settle(); err != nil {
		return nil, w.rollback(w.judged("write totals", err))
	}
	if _, err := w.conn.exec("COMMIT"); err != nil {
		w.fail("commit", err)
		return nil, w.cause
	}
	return t, nil
}

// may tells why an op may not begin, or returns nil.
func (w *writer) may(o *op, free int64) error {
	if o.files {
		if err := w.health.err(); err != nil {
			return err
		}
	}
	return w.room(free, o.grows)
}

// runOne runs o under a savepoint. An error that it returns concerns the group.
func (w *writer) runOne(t *tx, o *op, result *error) error {
	if _, err := w.conn.exec("SAVEPOINT one"); err != nil {
		return w.judged("savepoint", err)
	}
	mark := t.mark()
	err := o.run(t)
	if err != nil {
		if judge(err) != callFailed {
			return w.judged(o.name, err)
		}
		*result = inWords(err)
		t.reset(mark)
		if _, err := w.conn.exec("ROLLBACK TO one"); err != nil {
			w.fail("roll back "+o.name, err)
			return w.cause
		}
	}
	if _, err := w.conn.exec("RELEASE one"); err != nil {
		return w.judged("release", err)
	}
	return nil
}

// judged turns an error before COMMIT into what callers get, and breaks the
// catalog where the error asks for it.
func (w *writer) judged(what string, err error) error {
	w.health.notice(what, err)
	if judge(err) == catalogBroken {
		w.fail(what, err)
		return w.cause
	}
	return inWords(err)
}

// rollback ends the transaction and returns err, or why rolling back failed.
// SQLite may have rolled back by itself (SQLITE_FULL does); then ROLLBACK finds
// no transaction, which is SQLITE_ERROR and fine.
func (w *writer) rollback(err error) error {
	if w.isBroken() {
		return w.cause
	}
	if _, rerr := w.conn.exec("ROLLBACK"); rerr != nil && judge(rerr) != callFailed {
		w.fail("roll back", rerr)
		return w.cause
	}
	return err
}

// checkpoint moves the log into the database once it is long enough. Callers
// were answered before. A failure here leaves all that was committed in the log,
// but says that the disk fails: nothing more is written to it.
func (w *writer) checkpoint() {
	written, _, err := w.conn.raw.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true)
	if err != nil {
		w.fail("count written pages", err)
		return
	}
	if w.pages += written; w.pages < w.checkpointAt {
		return
	}
	if w.logged+w.pages < w.restartAt {
		_, err = w.moveLog("PRAGMA wal_checkpoint(PASSIVE)")
	} else {
		err = w.restartLog()
	}
	w.pages = 0
	w.health.notice("move the log into the catalog", err)
	if err != nil && judge(err) == catalogBroken {
		w.fail("checkpoint", err)
	}
}

// restartLog has the log begun anew. While there always is someone who reads,
// SQLite can't do that, so our own readers wait here for a moment. Another
// program that reads for long costs the busy timeout, at ever larger distances.
func (w *writer) restartLog() error {
	w.reading.Lock()
	defer w.reading.Unlock()
	busy, err := w.moveLog("PRAGMA wal_checkpoint(RESTART)")
	switch {
	case busy:
		w.restartAt *= 2
		w.log.Warn("another program is reading the catalog for long; its log grows", "pages", w.logged)
	case err == nil:
		w.logged, w.restartAt = 0, patience*w.checkpointAt
	}
	return err
}

func (w *writer) moveLog(pragma string) (busy bool, err error) {
	w.moving.Lock()
	defer w.moving.Unlock()
	err = w.conn.query(func(row []driver.Value) error {
		busy, w.logged = integer(row[0]) != 0, int(integer(row[1]))
		return nil
	}, pragma)
	return busy, err
}
