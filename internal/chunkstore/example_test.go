package chunkstore

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// The document shows a whole chunk; it must be one.
func TestDocumentedExampleIsAChunk(t *testing.T) {
	doc, err := os.ReadFile("../../docs/chunk-format.md")
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("hello")
	b, err := EncodeChunk(raid.ChunkMeta{
		Array: "A", Key: raid.ChunkKey{Part: 1, Attempt: 1}, Level: "raid1", StripeSize: 4 << 20,
		Length: 5, Blocks: raid.BlockChecksums(payload), Commit: 9,
		File: &raid.FileMeta{ID: 7, Filename: "a", ContentType: "text/plain", Created: "2026-01-02 03:04:05", Size: 5, Stripes: 1},
	}, payload)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(hex.Dump(b)) {
		if line = strings.TrimSpace(line); !strings.Contains(string(doc), line) {
			t.Errorf("docs/chunk-format.md lacks the line %s", line)
		}
	}
}
