package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/raidpi/raidpi/internal/raid"
)

// Rebuild writes a damaged catalog anew from the rows of its tables, with new indexes,
// and keeps what it was beside it. It loses nothing. When a row can't be read, or an
// index that can be read says otherwise than its table, it changes nothing and fails with
// ErrRefused. No catalog may be open at cfg.Path.
func Rebuild(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	kept, err := rebuild(ctx, cfg)
	if err != nil {
		return fmt.Errorf("rebuild catalog %s: %w", cfg.Path, inWords(err))
	}
	cfg.Log.Warn("the catalog was written anew from its tables, and nothing is lost. Start raid-controller again", "was", kept)
	return nil
}

func rebuild(ctx context.Context, cfg Config) (kept string, err error) {
	lock, err := claim(cfg.Path, nil)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := (&Catalog{path: cfg.Path}).checkLogFits(url.Values{}); err != nil {
		return "", err
	}
	if what, err := logDamage(cfg.Path); err != nil || what != "" {
		return "", errors.Join(err, refuseRebuild("its log is damaged at %s. Start raid-controller, which says what can be done", what))
	}
	kind, err := sealsOf(cfg.Path)
	if err != nil || kind != sealsAll {
		return "", errors.Join(err, refuseRebuild("without checksums, or with a damaged header, nobody can tell what in it is right"))
	}
	end, err := watching(cfg.Path, &watch{sealed: true, found: func(uint32, verdictOfPage) {}, rotten: func(int64) {}})
	if err != nil {
		return "", err
	}
	defer end()
	old, err := openConn(cfg.Path, url.Values{}, "busy_timeout = 2000", "cache_size = -4096", "temp_store = MEMORY")
	if err != nil {
		return "", err
	}
	s := sealer{old: old, path: cfg.Path, query: url.Values{}, progress: progress{tell: cfg.Progress, every: lookEvery}, fromRows: true}
	err = s.rebuild(ctx)
	if cerr := old.close(); err == nil {
		err = cerr
	}
	if err != nil {
		removeParts(cfg.Path)
		return "", err
	}
	for n := 1; kept == "" || exists(kept); n++ {
		kept = fmt.Sprintf("%s.damaged%d", cfg.Path, n)
	}
	return kept, s.swap(kept)
}

func (s *sealer) rebuild(ctx context.Context) error {
	removeParts(s.path)
	if _, err := schemaVersion(s.old); err != nil {
		return err
	}
	if err := checkpointed(s.old); err != nil {
		return err
	}
	if err := s.room(); err != nil {
		return err
	}
	if err := s.compare(ctx); err != nil {
		return err
	}
	err := s.write(ctx)
	if damaged(err) {
		return refuseRebuild("not only its indexes are damaged: %v. What those rows say is nowhere else. Put your newest backup in its place", err)
	}
	return err
}

// compare looks for indexes that can be read and do not fit their tables: nobody can
// tell which of them is right.
func (s *sealer) compare(ctx context.Context) error {
	for _, w := range walks {
		for from := w.first; from != nil; {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if from, err = w.some(s.old, from); primaryCode(err) == 0 && errors.Is(err, raid.ErrCorrupt) {
				return refuseRebuild("%v, and nobody can tell which is right. Put your newest backup in its place", err)
			}
		}
	}
	return nil
}

func refuseRebuild(format string, args ...any) error {
	return fmt.Errorf("%w: %w: it can't be rebuilt: "+format+". Nothing was changed", append([]any{ErrRefused, raid.ErrCorrupt}, args...)...)
}
