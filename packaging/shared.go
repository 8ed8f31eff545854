package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// writeShared writes what the package has on all architectures: its changelogs and
// its copyright file (Debian Policy 12.5 and 12.7).
func writeShared(ctx context.Context, o *options, p *pkg) error {
	dir := filepath.Join(o.dist, "build", "share", "doc", p.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the documents of %s: %w", p.Name, err)
	}
	upstream, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return fmt.Errorf("read what changed: %w", err)
	}
	copyright, err := copyrightOf(ctx, p)
	if err != nil {
		return fmt.Errorf("find the licences of what is in %s: %w", p.Name, err)
	}
	for name, content := range map[string][]byte{
		"copyright":           copyright,
		"changelog.gz":        zipped(upstream),
		"changelog.Debian.gz": zipped([]byte(changelog(o, p))),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the documents of %s: %w", p.Name, err)
		}
	}
	return nil
}

// changelog is Debian's (deb-changelog(5)): what changed in the packaging, which is
// made anew with each release.
func changelog(o *options, p *pkg) string {
	return fmt.Sprintf("%s (%s-%s) stable; urgency=medium\n\n  * Version %s; see changelog.gz beside this file.\n\n -- %s  %s\n",
		p.Name, o.version, p.Release, o.version, p.Maintainer, o.moment.Format(time.RFC1123Z))
}

// zipped is as gzip -9n does it: without a name or a time.
func zipped(content []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // a constant
	}
	w.Write(content) // a bytes.Buffer takes everything
	w.Close()
	return out.Bytes()
}
