package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// The values of upload.state.
const (
	uploading = 0
	complete  = 1
	trashed   = 2 // deleted, and can be put back
	going     = 3 // abandoned, or deleted for good; Sweep looks for these
)

const insertUpload = `INSERT INTO upload (id, upload_id, state, filename, content_type, created, size, sha256, level, stripe_size, stripes, degraded, lab)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func insertRow(t *tx, f *raid.File, state int64) error {
	_, err := t.exec(insertUpload, int64(f.ID), f.Upload.String(), state, f.Filename, f.ContentType, f.Created,
		f.Size, f.SHA256[:], f.Level, f.StripeSize, f.Stripes, truth(f.Degraded), truth(f.Lab))
	return err
}

// Begin makes the row of a long upload, so that its parts can be appended as
// they are stored. What is not known of the file yet may be missing.
func (c *Catalog) Begin(ctx context.Context, f raid.File) error {
	return c.write(ctx, &op{name: fmt.Sprintf("begin upload %d", f.ID), rows: 1, grows: true, files: true, run: func(t *tx) error {
		return insertRow(t, &f, uploading)
	}})
}

// Append writes parts of an uploading file with their copies, over what was
// written of them before. It fails with raid.ErrPrecondition when the upload was
// abandoned meanwhile.
func (c *Catalog) Append(ctx context.Context, id raid.FileID, parts []raid.Part) error {
	name := fmt.Sprintf("append parts to upload %d", id)
	if err := checkParts(parts); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.write(ctx, &op{name: name, rows: rowsOf(parts), grows: true, files: true, run: func(t *tx) error {
		_, ok, err := t.conn.queryInt("SELECT 1 FROM upload WHERE id = ? AND state = 0", int64(id))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: it is not an upload in progress", raid.ErrPrecondition)
		}
		t.markGone(parts)
		return t.rewriteParts(int64(id), parts)
	}})
}

// Finish makes an upload a file, durably: what it returns is what the catalog
// holds. Created is set to the present when it is empty. It fails with
// raid.ErrPrecondition when the upload was abandoned, or when another one has
// finished with the same idempotency key. Nothing is stored then, and the caller
// abandons.
func (c *Catalog) Finish(ctx context.Context, fin raid.FinishedUpload) (raid.File, error) {
	f := &fin.File
	name := fmt.Sprintf("finish upload %d", f.ID)
	if f.Created == "" {
		f.Created = time.Now().UTC().Format(time.DateTime)
	}
	appended, err := c.checkFinish(ctx, &fin)
	if err != nil {
		return raid.File{}, fmt.Errorf("%s: %w", name, err)
	}
	err = c.write(ctx, &op{name: name, rows: 1 + rowsOf(fin.Parts) + len(fin.Removals), grows: true, files: true, run: func(t *tx) error {
		return c.finish(t, &fin, appended)
	}})
	if err != nil {
		return raid.File{}, err
	}
	return *f, nil
}

func (c *Catalog) finish(t *tx, fin *raid.FinishedUpload, appended int64) error {
	f := &fin.File
	if fin.Idempotency != nil {
		if err := c.takeKey(t, fin.Idempotency, int64(f.ID)); err != nil {
			return err
		}
	}
	t.markGone(fin.Parts)
	var err error
	if fin.Begun {
		err = t.finishBegun(fin, appended)
	} else {
		err = t.finishWhole(fin)
	}
	if err != nil {
		return err
	}
	t.meta.counts.Files++
	t.meta.counts.Bytes += f.Size
	t.meta.counts.Degraded += truth(f.Degraded)
	return t.recordRemovals(fin.Removals)
}

// finishWhole stores an upload that has no row yet.
func (t *tx) finishWhole(fin *raid.FinishedUpload) error {
	f := &fin.File
	markLost(fin.Parts, fin.Lost)
	for i := range fin.Parts {
		if !slices.ContainsFunc(fin.Parts[i].Copies, func(c raid.Copy) bool { return !c.Bad }) {
			return errNoCopy()
		}
		for _, fl := range flaws(fin.Parts[i].Copies) {
			f.Degraded = f.Degraded || fl != copyOK
		}
		f.Lab = f.Lab || slices.ContainsFunc(fin.Parts[i].Copies, func(c raid.Copy) bool { return !c.Node.IsNative() })
	}
	f.PartNames = nil
	if f.Stripes == 1 {
		f.PartNames = namesOf(f.Upload, fin.Parts)
	}
	if err := insertRow(t, f, complete); err != nil {
		return err
	}
	if err := t.insertParts(int64(f.ID), fin.Parts); err != nil {
		return err
	}
	return t.arriving(f, fin.Parts)
}

// errNoCopy is why an upload does not become a file although all was stored.
func errNoCopy() error {
	return fmt.Errorf("%w: all nodes that had taken a part of it were removed meanwhile", raid.ErrTooFewNodes)
}

// markLost marks the copies on lost nodes bad.
func markLost(parts []raid.Part, lost []raid.NodeID) {
	for i := range parts {
		for j := range parts[i].Copies {
			c := &parts[i].Copies[j]
			c.Bad = c.Bad || c.Node.IsNative() && slices.Contains(lost, c.Node)
		}
	}
}

// loseCopies does the same for rows that were appended before.
func (t *tx) loseCopies(id int64, lost []raid.NodeID) error {
	for _, n := range lost {
		key, err := t.nodeKey(n)
		if err != nil {
			return err
		}
		if _, err := t.exec("UPDATE chunk SET flaw = 1 WHERE file = ? AND node = ?", id, key); err != nil {
			return err
		}
	}
	return nil
}

// finishBegun completes an upload that has a row, and perhaps parts.
func (t *tx) finishBegun(fin *raid.FinishedUpload, appended int64) error {
	f, id := &fin.File, int64(fin.File.ID)
	if err := t.moving(id); err != nil {
		return err
	}
	before, err := t.countParts(id, fin.Parts)
	if err != nil {
		return err
	}
	markLost(fin.Parts, fin.Lost)
	if err := t.rewriteParts(id, fin.Parts); err != nil {
		return err
	}
	if err := t.loseCopies(id, fin.Lost); err != nil {
		return err
	}
	if err := t.checkWhole(f, appended-before+int64(len(fin.Parts))); err != nil {
		return err
	}
	_, flawed, err := t.conn.queryInt(anyFlaw, id)
	if err != nil {
		return err
	}
	_, lab, err := t.conn.queryInt(anyLab, id)
	if err != nil {
		return err
	}
	if flawed {
		if _, none, err := t.conn.queryInt(anyWithout, id); err != nil || none {
			return cmp.Or(err, errNoCopy())
		}
	}
	f.Degraded, f.Lab = f.Degraded || flawed, f.Lab || lab
	n, err := t.exec(`UPDATE upload SET state = 1, filename = ?, content_type = ?, created = ?, size = ?, sha256 = ?, level = ?,
		stripe_size = ?, stripes = ?, degraded = ?, lab = ? WHERE id = ? AND state = 0 AND upload_id = ?`,
		f.Filename, f.ContentType, f.Created, f.Size, f.SHA256[:], f.Level, f.StripeSize, f.Stripes,
		truth(f.Degraded), truth(f.Lab), id, f.Upload.String())
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%w: it is not an upload in progress", raid.ErrPrecondition)
	}
	f.PartNames = nil
	if f.Stripes == 1 {
		f.PartNames, err = smallNames(t.conn, id, f.Upload)
	}
	return err
}

// Abandon gives an upload up, durably: what was recorded of it and the chunks in
// removals will be removed from the nodes. A complete file stays as it is.
func (c *Catalog) Abandon(ctx context.Context, f raid.File, removals []raid.Removal) error {
	name := fmt.Sprintf("abandon upload %d", f.ID)
	return c.write(ctx, &op{name: name, rows: 1 + len(removals), frees: true, files: true, run: func(t *tx) error {
		_, err := t.exec("UPDATE upload SET state = 3 WHERE id = ? AND state = 0 AND upload_id = ?", int64(f.ID), f.Upload.String())
		if err != nil {
			return err
		}
		return t.recordRemovals(removals)
	}})
}

// AbandonUnfinished gives up what earlier runs were uploading when they ended,
// and returns how many uploads that were.
//
// It changes one row of each, and there are at most as many as requests at once: it
// takes no time worth telling of. The sweep, which goes through their chunks, works
// in the background and in batches.
func (c *Catalog) AbandonUnfinished(ctx context.Context) (int, error) {
	var found int64
	err := c.read(ctx, "look for unfinished uploads", func(r *conn) (err error) {
		found, _, err = r.queryInt("SELECT count(*) FROM upload WHERE state = 0 AND state <> 1 AND id < ?", c.firstID)
		return err
	})
	if err != nil || found == 0 {
		return 0, err
	}
	var n int64
	err = c.write(ctx, &op{name: "abandon unfinished uploads", rows: int(min(found, maxGroupRows)), frees: true, files: true, run: func(t *tx) (err error) {
		// The state is asked of the table too: the index alone could be rotten.
		n, err = t.exec(`UPDATE upload NOT INDEXED SET state = 3 WHERE +state = 0
			AND id IN (SELECT id FROM upload WHERE state = 0 AND state <> 1 AND id < ?)`, c.firstID)
		return err
	}})
	return int(n), err
}
