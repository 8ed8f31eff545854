package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// bareColumns are read by scanFile for a file without its chunk names.
const bareColumns = `u.id, u.upload_id, u.filename, u.content_type, u.created, u.size, u.sha256, u.level, u.stripe_size, u.stripes, u.degraded, u.lab, NULL`

// fileColumns are read by scanFile. The last one holds what the chunk names of
// a file of one stripe are computed from.
const fileColumns = `u.id, u.upload_id, u.filename, u.content_type, u.created, u.size, u.sha256, u.level, u.stripe_size, u.stripes, u.degraded, u.lab,
	CASE WHEN u.stripes = 1 THEN (SELECT group_concat(c.part || '.' || c.attempt) FROM chunk c WHERE c.file = u.id AND c.stripe = 0 AND c.flaw <> 1) END`

func scanFile(r []driver.Value) (f raid.File, err error) {
	f.ID, f.Filename, f.ContentType, f.Created = raid.FileID(integer(r[0])), text(r[2]), text(r[3]), text(r[4])
	f.Size, f.Level, f.StripeSize, f.Stripes = integer(r[5]), text(r[7]), integer(r[8]), integer(r[9])
	f.Degraded, f.Lab = integer(r[10]) != 0, integer(r[11]) != 0
	if f.Upload, err = raid.ParseUploadID(text(r[1])); err != nil {
		return f, fmt.Errorf("%w: file %d has upload id %q", raid.ErrCorrupt, f.ID, text(r[1]))
	}
	if copy(f.SHA256[:], blob(r[6])) != len(f.SHA256) {
		return f, fmt.Errorf("%w: file %d has a short digest", raid.ErrCorrupt, f.ID)
	}
	f.PartNames = parseNames(f.Upload, text(r[12]))
	return f, nil
}

// parseNames makes the chunk names of a file of one stripe from "part.attempt",
// with commas between.
func parseNames(u raid.UploadID, list string) (names [][]raid.ChunkName) {
	for item := range strings.SplitSeq(list, ",") {
		p, a, ok := strings.Cut(item, ".")
		part, err1 := strconv.Atoi(p)
		attempt, err2 := strconv.Atoi(a)
		if !ok || err1 != nil || err2 != nil {
			continue // the list of a file that has none
		}
		names = addName(names, raid.ChunkKey{Upload: u, Part: part, Attempt: attempt})
	}
	return names
}

// addName adds a chunk's name to those of its part.
func addName(names [][]raid.ChunkName, k raid.ChunkKey) [][]raid.ChunkName {
	if k.Part < 1 || k.Part > raid.MaxPart {
		return names // no row of ours
	}
	for len(names) < k.Part {
		names = append(names, nil)
	}
	names[k.Part-1] = append(names[k.Part-1], k.Name())
	return names
}

// namesOf are the chunk names of the good copies of parts.
func namesOf(u raid.UploadID, parts []raid.Part) (names [][]raid.ChunkName) {
	for i := range parts {
		for _, c := range parts[i].Copies {
			if !c.Bad {
				names = addName(names, parts[i].Key(u, c))
			}
		}
	}
	return names
}

// smallNames reads the chunk names of a file of one stripe.
func smallNames(conn *conn, id int64, u raid.UploadID) (names [][]raid.ChunkName, err error) {
	err = conn.query(func(r []driver.Value) error {
		names = addName(names, raid.ChunkKey{Upload: u, Part: int(integer(r[0])), Attempt: int(integer(r[1]))})
		return nil
	}, "SELECT part, attempt FROM chunk WHERE file = ? AND stripe = 0 AND flaw <> 1 ORDER BY part, copy", id)
	return names, err
}

// File describes a file, with its chunk names when it has one stripe. It fails
// with raid.ErrNotFound; uploads that are not complete are not files.
func (c *Catalog) File(ctx context.Context, id raid.FileID) (f raid.File, err error) {
	err = c.read(ctx, fmt.Sprintf("look up file %d", id), func(r *conn) error {
		f, err = findFile(r, int64(id))
		return err
	})
	return f, err
}

// Stored is File without chunk names, which also describes a file in the trash.
// What is stored of it is kept as that of others is.
func (c *Catalog) Stored(ctx context.Context, id raid.FileID) (f raid.File, err error) {
	err = c.read(ctx, fmt.Sprintf("look up file %d", id), func(r *conn) error {
		f, err = findUpload(r, int64(id), bareColumns, "u.state IN (1, 2)")
		return err
	})
	return f, err
}

func findFile(r *conn, id int64) (f raid.File, err error) {
	return findUpload(r, id, fileColumns, "u.state = 1")
}

func findUpload(r *conn, id int64, columns, state string) (f raid.File, err error) {
	found := false
	err = r.query(func(row []driver.Value) error {
		found = true
		f, err = scanFile(row)
		return err
	}, "SELECT "+columns+" FROM upload u WHERE u.id = ? AND "+state, id)
	if err == nil && !found {
		err = raid.ErrNotFound
	}
	return f, err
}

// Parts returns the parts of stripes from to to-1 with their copies, in order. It
// fails with raid.ErrNotFound when there are none, as after the file's deletion.
func (c *Catalog) Parts(ctx context.Context, id raid.FileID, from, to int64) (parts []raid.Part, err error) {
	if from >= to {
		return nil, nil
	}
	err = c.read(ctx, fmt.Sprintf("look up parts of file %d", id), func(r *conn) error {
		parts, err = c.stripes(r, int64(id), from, to)
		if err == nil && len(parts) == 0 {
			return raid.ErrNotFound
		}
		return err
	})
	return parts, err
}

func (c *Catalog) stripes(r *conn, id, from, to int64) (parts []raid.Part, err error) {
	err = r.query(func(row []driver.Value) error {
		stripe, number := integer(row[0]), int(integer(row[1]))
		if n := len(parts); n == 0 || parts[n-1].Stripe != stripe || parts[n-1].Number != number {
			parts = append(parts, raid.Part{Stripe: stripe, Number: number, Length: integer(row[2]), CRC: uint32(integer(row[3])),
				Copies: make([]raid.Copy, 0, 2)})
		}
		p := &parts[len(parts)-1]
		p.Copies = append(p.Copies, raid.Copy{
			Index: int(integer(row[4])), Attempt: int(integer(row[5])), Node: c.nodeByKey(integer(row[6])), Bad: integer(row[7]) == copyBad,
		})
		return nil
	}, `SELECT p.stripe, p.part, p.length, p.crc, c.copy, c.attempt, c.node, c.flaw
		FROM part p CROSS JOIN chunk c ON c.file = p.file AND c.stripe = p.stripe AND c.part = p.part
		WHERE p.file = ? AND p.stripe >= ? AND p.stripe < ? ORDER BY p.stripe, p.part, c.copy`, id, from, to)
	return parts, err
}

// namesStripes bounds the stripes that Names reads at once: two copies of each make
// that 32 KiB.
const namesStripes = 1024

// chunkNumber is the part of a chunk's name besides upload and part.
type chunkNumber struct {
	stripe  int64
	attempt int
}

// Names yields the chunk names of the good copies of a file's parts of one
// number, from 1, over all stripes in order. It reads them in pages and holds
// nothing between these, so a slow reader costs little memory however large the
// file is. It ends with raid.ErrNotFound when the file is not there, or no more.
func (c *Catalog) Names(ctx context.Context, f raid.File, part int) iter.Seq2[raid.ChunkName, error] {
	return func(yield func(raid.ChunkName, error) bool) {
		page := make([]chunkNumber, 0, min(f.Stripes, namesStripes)*2)
		for from := int64(0); from < f.Stripes; from += namesStripes {
			page = page[:0]
			err := c.read(ctx, fmt.Sprintf("look up chunk names of file %d", f.ID), func(r *conn) (err error) {
				page, err = namesFrom(r, page, int64(f.ID), from, part)
				return err
			})
			if err != nil {
				yield("", err)
				return
			}
			for _, n := range page {
				if !yield(raid.ChunkKey{Upload: f.Upload, Stripe: n.stripe, Part: part, Attempt: n.attempt}.Name(), nil) {
					return
				}
			}
		}
	}
}

// namesFrom appends a page of names. That the file is still there is looked at
// last: the rows of one that was deleted go one after the other, later. SQLite
// would sort where it is told that part is the same in all rows, hence the +.
func namesFrom(r *conn, page []chunkNumber, id, from int64, part int) ([]chunkNumber, error) {
	err := r.query(func(row []driver.Value) error {
		page = append(page, chunkNumber{integer(row[0]), int(integer(row[1]))})
		return nil
	}, `SELECT stripe, attempt FROM chunk
		WHERE file = ? AND stripe >= ? AND stripe < ? AND +part = ? AND flaw <> 1 ORDER BY stripe, part, copy`, id, from, from+namesStripes, int64(part))
	if err != nil {
		return page, err
	}
	_, there, err := r.queryInt("SELECT 1 FROM upload WHERE id = ? AND state = 1", id)
	if err == nil && !there {
		err = raid.ErrNotFound
	}
	return page, err
}
