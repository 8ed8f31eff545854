package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"golang.org/x/sync/errgroup"
)

// targets are Debian's architectures in nfpm's words, which are Go's.
var targets = map[string]string{"amd64": "amd64", "arm64": "arm64", "armhf": "arm6"}

// build writes each package for each architecture.
func build(ctx context.Context, o *options, packages []*pkg, stdout io.Writer) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.NumCPU())
	for _, arch := range o.archs {
		for _, p := range packages {
			info, err := p.info(o, arch)
			if err != nil {
				return fmt.Errorf("describe %s for %s: %w", p.Name, arch, err)
			}
			work.Go(func() error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err := write(info); err != nil {
					return fmt.Errorf("build %s: %w", info.Target, err)
				}
				fmt.Fprintln(stdout, info.Target)
				return nil
			})
		}
	}
	return work.Wait()
}

// write builds one package beside its place, and then puts it there. A build that
// was interrupted leaves no half one under its name.
func write(info *nfpm.Info) error {
	target := info.Target
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".deb-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := deb.Default.Package(info, f); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), target)
}
