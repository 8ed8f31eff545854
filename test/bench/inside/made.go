// Package inside measures parts of the programs in this process, and makes catalogs and chunks that
// nobody has uploaded. An array can't be asked for these from outside, or it would take hours.
package inside

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

// made are files that nobody has uploaded. Their rows are written into a catalog, and
// their chunks, where they are wanted, into a node's folder. All parts have the same few
// bytes, as it is their number that counts here.
type made struct {
	catalog *catalog.Catalog
	nodes   []raid.NodeID
	files   int
	stripes int64 // of each file
	// chunk is told of each copy, by several goroutines; nil: nobody is.
	chunk func(ctx context.Context, f *raid.File, p *raid.Part, c raid.Copy) error
}

const (
	madePart  = 64 // bytes of a part
	makers    = 64 // goroutines: so many files share a transaction
	madeLevel = "raid1"
)

var madePayload = make([]byte, madePart)

// run makes them all.
func (m *made) run(ctx context.Context) error {
	var next atomic.Int64
	errs := make([]error, makers)
	var wg sync.WaitGroup
	for worker := range makers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for errs[worker] == nil && next.Add(1) <= int64(m.files) {
				errs[worker] = m.file(ctx, rng)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// file makes one, with the copies of each stripe on nodes drawn as placement does.
func (m *made) file(ctx context.Context, rng *rand.Rand) error {
	id, err := m.catalog.NextID(ctx)
	if err != nil {
		return err
	}
	upload, err := raid.NewUploadID(m.catalog.Run(), crand.Reader)
	if err != nil {
		return err
	}
	f := raid.File{
		ID: id, Upload: upload, Filename: fmt.Sprintf("made-%d", id), ContentType: "application/octet-stream", Level: madeLevel,
		Size: 2 * madePart * m.stripes, StripeSize: 2 * madePart, Stripes: m.stripes,
	}
	var parts []raid.Part
	for s := range m.stripes {
		at := rng.Perm(len(m.nodes))
		for number := range 2 {
			p := raid.Part{Stripe: s, Number: number + 1, Length: madePart, CRC: raid.Checksum(madePayload)}
			for c := range 2 {
				p.Copies = append(p.Copies, raid.Copy{Index: c + 1, Attempt: c + 1, Node: m.nodes[at[(2*number+c)%len(at)]]})
			}
			parts = append(parts, p)
		}
	}
	if _, err := m.catalog.Finish(ctx, raid.FinishedUpload{File: f, Parts: parts}); err != nil || m.chunk == nil {
		return err
	}
	for i := range parts {
		for _, c := range parts[i].Copies {
			if err := m.chunk(ctx, &f, &parts[i], c); err != nil {
				return err
			}
		}
	}
	return nil
}

// into writes the copies of one node into its store.
func into(store *chunkstore.Store, node raid.NodeID, array raid.ArrayID) func(context.Context, *raid.File, *raid.Part, raid.Copy) error {
	blocks := raid.BlockChecksums(madePayload)
	return func(ctx context.Context, f *raid.File, p *raid.Part, c raid.Copy) error {
		if c.Node != node {
			return nil
		}
		m := raid.ChunkMeta{
			Array: array, Key: p.Key(f.Upload, c), Level: f.Level, StripeSize: f.StripeSize, Length: p.Length, Blocks: blocks,
		}
		if p.Stripe == f.Stripes-1 {
			m.File = &raid.FileMeta{ID: f.ID, Filename: f.Filename, ContentType: f.ContentType, Created: f.Created, Size: f.Size, Stripes: f.Stripes}
		}
		return store.Write(ctx, m, madePayload)
	}
}

// unsynced is a folder whose fsyncs are left out: what is made here need not survive a
// power cut.
type unsynced struct{ chunkstore.FS }

func (u unsynced) OpenFile(name string, flag int, perm fs.FileMode) (chunkstore.File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

type unsyncedFile struct{ chunkstore.File }

func (unsyncedFile) Sync() error { return nil }
