package catalog_test

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/catalog/catalogtest"
)

func TestCatalogKeepsItsContract(t *testing.T) {
	catalogtest.Run(t, func(dir string) (catalogtest.Catalog, error) {
		c, err := catalog.Open(t.Context(), catalog.Config{Path: filepath.Join(dir, "catalog.db"), Random: rand.Reader, Log: slog.New(slog.DiscardHandler), Keep: 24 * time.Hour})
		if err != nil {
			return nil, err
		}
		return c, nil
	})
}
