package chunkstore

import (
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// EncodeChunk is the content of a chunk's file.
func EncodeChunk(m raid.ChunkMeta, payload []byte) ([]byte, error) {
	return appendTrailer(slices.Clone(payload), &m)
}
