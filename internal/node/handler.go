package node

import (
	"context"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// handler answers a native controller. The store checks, logs and counts; there
// is nothing to add here but memory and patience.
type handler struct {
	store *chunkstore.Store
	pool  *budget.Pool
}

// Store implements wire.Handler.
func (h *handler) Store(ctx context.Context, req wire.StoreRequest) error {
	return h.store.Write(ctx, req.Meta, req.Payload)
}

// Get implements wire.Handler. It waits for memory as long as the request has
// time.
func (h *handler) Get(ctx context.Context, req wire.NodeGet) (wire.NodeChunk, error) {
	buf, err := h.pool.Acquire(ctx, int(req.Length))
	if err != nil {
		return wire.NodeChunk{}, fmt.Errorf("read chunk %s: no memory for the answer: %w: %w", req.Name, raid.ErrBusy, err)
	}
	res, err := h.store.Read(ctx, chunkstore.ReadRequest{
		Name: req.Name, Offset: req.Offset, Length: req.Length,
		ExpectLength: req.ExpectLength, ExpectCRC: req.ExpectCRC, Dst: buf.Bytes(), Unchecked: req.Unchecked,
	})
	if err != nil {
		buf.Release()
		return wire.NodeChunk{}, err
	}
	return wire.NodeChunk{Length: res.Length, Blocks: res.Blocks, Payload: buf}, nil
}

// Delete implements wire.Handler. The node may hold chunks of a newer catalog than the
// controller's. The controller would then be wrong about what is not needed any more. It can't tell
// until every trailer was read, and asks for patience.
func (h *handler) Delete(ctx context.Context, names []raid.ChunkName) []error {
	if h.store.Stats().Scanned {
		return h.store.Delete(ctx, names)
	}
	return stillReading("delete chunk %s", names)
}

func stillReading(doing string, names []raid.ChunkName) []error {
	errs := make([]error, len(names))
	for i, name := range names {
		errs[i] = fmt.Errorf(doing+": the node still reads its chunks' trailers after its start: %w", name, raid.ErrBusy)
	}
	return errs
}

// List implements wire.Handler.
func (h *handler) List(ctx context.Context, req wire.ListRequest) ([]raid.ChunkName, bool, error) {
	return h.store.List(ctx, req.After, req.Limit, req.MinRun, req.MaxRun)
}

// Verify implements wire.Handler.
func (h *handler) Verify(ctx context.Context, name raid.ChunkName, length int64, crc uint32) error {
	return h.store.Verify(ctx, name, length, crc)
}

// describer answers a native controller that compares chunks with its catalog.
type describer struct{ store *chunkstore.Store }

// Describe implements wire.Describer.
func (d describer) Describe(ctx context.Context, req wire.ListRequest) ([]raid.Listed, bool, error) {
	return d.store.Describe(ctx, req.After, req.Limit, req.MinRun, req.MaxRun)
}

// trashHandler answers a native controller that gives up chunks which it does not know.
type trashHandler struct{ store *chunkstore.Store }

// Inspect implements wire.TrashHandler.
func (h trashHandler) Inspect(ctx context.Context, name raid.ChunkName) (raid.ChunkMeta, error) {
	return h.store.Meta(ctx, name)
}

// Trash implements wire.TrashHandler. It asks for patience as Delete does.
func (h trashHandler) Trash(ctx context.Context, names []raid.ChunkName, keep time.Duration) []error {
	if !h.store.Stats().Scanned {
		return stillReading("move chunk %s to the trash", names)
	}
	return h.store.Trash(ctx, names, keep)
}

// labHandler answers a lab controller; what that stores lies apart from our own
// chunks, and neither side can reach the other's.
type labHandler struct{ store *chunkstore.Store }

// StoreLab implements wire.LabHandler.
func (l labHandler) StoreLab(ctx context.Context, name string, payload []byte) error {
	return l.store.WriteLab(ctx, name, payload)
}

// GetLab implements wire.LabHandler.
func (l labHandler) GetLab(ctx context.Context, name string) (*budget.Buffer, error) {
	return l.store.ReadLab(ctx, name)
}
