package controller

import (
	"context"
	"errors"
)

// GiveUp makes the catalog in cfg.StateDir take a commit number for one of its
// past, which nodes have seen and it does not have; see catalog.GiveUp. No
// controller may be running on it.
func GiveUp(ctx context.Context, cfg Config, commit uint64) (err error) {
	c, err := openCatalog(ctx, &cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.GiveUp(ctx, commit); err != nil {
		return err
	}
	cfg.Log.Warn("what was stored at that commit and after it in the same run, and is not in this catalog, is given up. Start raid-controller again", "commit", commit)
	return nil
}
