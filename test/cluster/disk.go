package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir is the folder that holds the whole array.
func (c *Cluster) Dir() string { return c.dir }

// StateDir is the state directory of Nodes[i].
func (c *Cluster) StateDir(i int) string { return filepath.Join(c.dir, fmt.Sprintf("node%d", i+1)) }

// ChunkDir is the chunk directory of Nodes[i].
func (c *Cluster) ChunkDir(i int) string { return filepath.Join(c.StateDir(i), "chunks") }

// chunkNameLen is the length of the names that raidpi gives to chunks.
const chunkNameLen = 32

// Chunks maps the names of the chunks on Nodes[i]'s disk to their files.
func (c *Cluster) Chunks(i int) (map[string]string, error) {
	chunks := map[string]string{}
	err := filepath.WalkDir(c.ChunkDir(i), func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed since its directory was read
			return nil
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "trash": // what is there is no chunk any more
			return fs.SkipDir
		case e.Type().IsRegular() && IsChunkName(e.Name()):
			chunks[e.Name()] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list chunks of node%d: %w", i+1, err)
	}
	return chunks, nil
}

// IsChunkName tells the names of chunks from those of other files.
func IsChunkName(name string) bool {
	if len(name) != chunkNameLen {
		return false
	}
	for _, r := range name {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

// Holders maps each chunk name to the indexes of the nodes that have it on disk.
func (c *Cluster) Holders() (map[string][]int, error) {
	holders := map[string][]int{}
	for i := range c.Nodes {
		chunks, err := c.Chunks(i)
		if err != nil {
			return nil, err
		}
		for name := range chunks {
			holders[name] = append(holders[name], i)
		}
	}
	return holders, nil
}

// NodeID is the id that Nodes[i] has on its disk's marker.
func (c *Cluster) NodeID(i int) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.ChunkDir(i), "raid-node.json"))
	if err != nil {
		return "", fmt.Errorf("read id of node%d: %w", i+1, err)
	}
	var marker struct {
		Node string `json:"node"`
	}
	if err := json.Unmarshal(b, &marker); err != nil {
		return "", fmt.Errorf("read id of node%d: %w", i+1, err)
	}
	return marker.Node, nil
}
