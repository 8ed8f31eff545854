package catalog

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// Unexplained returns those of the chunks on a node of which nothing is on record:
// neither a copy, good, bad or surplus, nor a removal, nor that it is about to be stored. Those
// of an upload under way may be among them.
func (c *Catalog) Unexplained(ctx context.Context, node raid.NodeID, keys []raid.ChunkKey) (out []raid.ChunkKey, err error) {
	c.mu.RLock()
	at := c.state.byID[node]
	c.mu.RUnlock()
	err = c.read(ctx, fmt.Sprintf("look for what explains chunks on node %s", node), func(r *conn) error {
		for _, k := range keys {
			known, err := explained(r, at, k)
			if err != nil {
				return err
			}
			if !known {
				out = append(out, k)
			}
		}
		return nil
	})
	return out, err
}

func explained(r *conn, node int64, k raid.ChunkKey) (known bool, err error) {
	for _, sql := range []string{
		`SELECT 1 FROM upload u JOIN chunk c ON c.file = u.id
			WHERE u.upload_id = ? AND c.stripe = ? AND c.part = ? AND c.attempt = ? AND c.node = ?`,
		`SELECT 1 FROM upload u JOIN surplus s ON s.file = u.id
			WHERE u.upload_id = ? AND s.stripe = ? AND s.part = ? AND s.attempt = ? AND s.node = ?`,
		"SELECT 1 FROM removal WHERE upload_id = ? AND stripe = ? AND part = ? AND attempt = ? AND node = ?",
		"SELECT 1 FROM intent WHERE upload_id = ? AND stripe = ? AND part = ? AND attempt = ? AND node = ?",
	} {
		_, known, err = r.queryInt(sql, k.Upload.String(), k.Stripe, int64(k.Part), int64(k.Attempt), node)
		if known || err != nil {
			break
		}
	}
	return known, err
}
