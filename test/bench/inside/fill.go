package inside

import (
	"context"
	"errors"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// fillStripes is the number of stripes in each file of FillNode.
	fillStripes = 250
	// absent is the node with the other copies.
	absent = raid.NodeID("AAAAAAAAAAAAAAAAAAAAAA")
)

// FillNode gives a node that is stopped about so many chunks. Their rows go into the catalog of its
// controller, which is stopped too. The other copies are on a node that never comes. It returns how
// many chunks there are.
func FillNode(ctx context.Context, catalogPath, chunkDir, id string, want int) (chunks int, err error) {
	node := raid.NodeID(id)
	c, err := catalog.Open(ctx, catalog.Config{Path: catalogPath})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, n := range []raid.NodeID{node, absent} {
		if err := c.SaveNode(ctx, raid.NodeRecord{ID: n}); err != nil {
			return 0, err
		}
	}
	dir, err := chunkstore.OpenDir(chunkDir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	store, err := chunkstore.Open(chunkstore.Config{FS: unsynced{dir}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	m := &made{
		catalog: c, nodes: []raid.NodeID{node, absent}, files: want / (2 * fillStripes), stripes: fillStripes,
		chunk: into(store, node, c.Array()),
	}
	return m.files * 2 * fillStripes, m.run(ctx)
}
