package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// errLies says that a node's answer can't be true.
var errLies = errors.New("the node's answer can't be true")

// Bounds of a listing. A chunk takes at least leastChunk bytes of a disk. What a node
// says of itself is a moment old, which countSlack makes up for.
const (
	leastChunk = 256
	countSlack = 1000
)

// lister is what a listing needs of a node.
type lister interface {
	List(ctx context.Context, req wire.ListRequest) (names []raid.ChunkName, more bool, err error)
	Beat() wire.Beat
}

// listing goes through the names of a node's chunks, page by page, and believes no
// page: names are ours and of the runs asked for, each is higher than the one before,
// and they are not more than the node says it has, or has room for.
type listing struct {
	node lister
	req  wire.ListRequest
	seen int64 // names so far
	over bool
}

// next returns the next page; none when the listing is over. Errors that wrap errLies
// are the node's fault, all others mean that it did not answer.
func (l *listing) next(ctx context.Context) ([]raid.ChunkKey, error) {
	if l.over {
		return nil, nil
	}
	call, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	names, more, err := l.node.List(call, l.req)
	if err != nil {
		return nil, err
	}
	keys := make([]raid.ChunkKey, 0, len(names))
	for _, name := range names {
		k, err := l.check(name)
		if err != nil {
			return nil, err
		}
		l.req.After = name
		keys = append(keys, k)
	}
	if l.seen += int64(len(names)); l.seen > l.most() {
		return nil, fmt.Errorf("%w: it lists more than the %d chunks that it can have", errLies, l.most())
	}
	l.over = !more || len(names) == 0
	return keys, nil
}

func (l *listing) check(name raid.ChunkName) (raid.ChunkKey, error) {
	k, err := raid.ParseChunkName(name)
	switch run := k.Upload.Run(); {
	case err != nil:
		return k, fmt.Errorf("%w: it lists %q, which is no chunk's name", errLies, name)
	case name <= l.req.After:
		return k, fmt.Errorf("%w: it lists %s after %s", errLies, name, l.req.After)
	case run < l.req.MinRun || run >= l.req.MaxRun:
		return k, fmt.Errorf("%w: it lists %s of run %d where runs %d to %d were asked for", errLies, name, run, l.req.MinRun, l.req.MaxRun-1)
	}
	return k, nil
}

// most is how many chunks the node can have by what it says of itself.
func (l *listing) most() int64 {
	b := l.node.Beat()
	return min(b.Chunks, b.TotalBytes/leastChunk) + countSlack
}
