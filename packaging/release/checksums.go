package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeChecksums writes checksums.txt, which sha256sum -c reads, and says what was
// made.
func writeChecksums(o *options, names []string, stdout io.Writer) error {
	slices.Sort(names)
	var lines strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(o.dist, name))
		if err != nil {
			return fmt.Errorf("compute the checksum of %s: %w", name, err)
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), name)
		fmt.Fprintln(stdout, filepath.Join(o.dist, name))
	}
	path := filepath.Join(o.dist, "checksums.txt")
	if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
		return fmt.Errorf("write the checksums: %w", err)
	}
	fmt.Fprintln(stdout, path)
	return nil
}
