package controller

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/identity"
)

// RebuildCatalog writes the damaged catalog in cfg.StateDir anew; see catalog.Rebuild.
// No controller may be running on it.
func RebuildCatalog(ctx context.Context, cfg Config) error {
	path, keys := filepath.Join(cfg.StateDir, CatalogFile), filepath.Join(cfg.StateDir, identityDir)
	if catalog.Gone(path) && identity.HasCA(keys) {
		return fmt.Errorf("rebuild the catalog: %w", catalog.RefuseGone(path, keys))
	}
	return catalog.Rebuild(ctx, catalog.Config{Path: path, Log: cfg.Log, Progress: cfg.Progress})
}

// ForgetCommits makes the catalog in cfg.StateDir take a commit number for one of its past, which
// nodes have seen and it does not have. See catalog.ForgetCommits. No controller may be running on
// it.
func ForgetCommits(ctx context.Context, cfg Config, commit uint64) (err error) {
	c, err := openCatalog(ctx, &cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.ForgetCommits(ctx, commit); err != nil {
		return err
	}
	cfg.Log.Warn("what was stored at that commit and after it in the same run, and is not in this catalog, is given up. Start raid-controller again", "commit", commit)
	return nil
}
