package controller

import (
	"context"
	"iter"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/trash"
)

// bin gives trash.Bin the interface that httpapi asks for.
type bin struct{ *trash.Bin }

// List implements httpapi.Trash.
func (b bin) List(ctx context.Context, q httpapi.Query) iter.Seq2[raid.TrashedFile, error] {
	return b.Bin.List(ctx, catalog.Query{After: q.After, Limit: q.Limit, Filename: q.Filename})
}
