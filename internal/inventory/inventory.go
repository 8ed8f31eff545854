// Package inventory reads through a node's account of what it holds, page by page, and
// believes no page. Names must be ours and of the runs asked for, and each higher than the
// one before. There must not be more than the node says it has, or has room for.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// ErrLies says that a node's answer can't be true.
var ErrLies = errors.New("the node's answer can't be true")

// Bounds of a listing. A chunk takes at least leastChunk bytes of a disk. What a node
// says of itself is a moment old, which countSlack makes up for.
const (
	leastChunk = 256
	countSlack = 1000
	// pageTimeout bounds the wait for a page of names: a node may have millions of them
	// on an SD card. One that describes chunks ends its pages early.
	pageTimeout     = 5 * time.Minute
	describeTimeout = time.Minute
)

// Node is the part of a node that a Listing needs. Peers of package membership are some.
type Node interface {
	List(ctx context.Context, req wire.ListRequest) (names []raid.ChunkName, more bool, err error)
	Describe(ctx context.Context, req wire.ListRequest) (chunks []raid.Listed, more bool, err error)
	Heartbeat() wire.Heartbeat
}

// Chunk is a chunk of ours on a node.
type Chunk struct {
	raid.Listed
	Key raid.ChunkKey
}

// Listing goes through a node's chunks in the order of their names. A copy of it goes on
// where the original was.
type Listing struct {
	Node    Node
	Request wire.ListRequest // its After moves on
	// Describe has the node asked for more than names.
	Describe bool
	// Before ends the listing ahead of names that are not lower; empty: it goes to the
	// end.
	Before raid.ChunkName

	seen int64 // names so far
	over bool
}

// Over reports whether there is nothing more to list.
func (l *Listing) Over() bool { return l.over }

// Move has the listing go on after a name, up to before. Names count as before.
func (l *Listing) Move(after, before raid.ChunkName) {
	l.Request.After, l.Before, l.over = after, before, false
}

// Next returns the next page; none when the listing is over. Errors that wrap ErrLies are
// the node's fault, all others mean that it did not answer.
func (l *Listing) Next(ctx context.Context) ([]Chunk, error) {
	if l.over {
		return nil, nil
	}
	listed, more, err := l.ask(ctx)
	if err != nil {
		return nil, err
	}
	chunks := make([]Chunk, 0, len(listed))
	for _, c := range listed {
		if l.Before != "" && c.Name >= l.Before {
			more = false
			break
		}
		k, err := l.check(c.Name)
		if err != nil {
			return nil, err
		}
		l.Request.After = c.Name
		chunks = append(chunks, Chunk{c, k})
	}
	if l.seen += int64(len(chunks)); l.seen > l.most() {
		return nil, fmt.Errorf("%w: it lists more than the %d chunks that it can have", ErrLies, l.most())
	}
	l.over = !more || len(listed) == 0
	return chunks, nil
}

func (l *Listing) ask(ctx context.Context) ([]raid.Listed, bool, error) {
	timeout := pageTimeout
	if l.Describe {
		timeout = describeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if l.Describe {
		return l.Node.Describe(ctx, l.Request)
	}
	names, more, err := l.Node.List(ctx, l.Request)
	listed := make([]raid.Listed, len(names))
	for i, name := range names {
		listed[i].Name = name
	}
	return listed, more, err
}

func (l *Listing) check(name raid.ChunkName) (raid.ChunkKey, error) {
	k, err := raid.ParseChunkName(name)
	switch run := k.Upload.Run(); {
	case err != nil:
		return k, fmt.Errorf("%w: it lists %q, which is no chunk's name", ErrLies, name)
	case name <= l.Request.After:
		return k, fmt.Errorf("%w: it lists %s after %s", ErrLies, name, l.Request.After)
	case run < l.Request.MinRun || run >= l.Request.MaxRun:
		return k, fmt.Errorf("%w: it lists %s of run %d where runs %d to %d were asked for", ErrLies, name, run, l.Request.MinRun, l.Request.MaxRun-1)
	}
	return k, nil
}

// most returns the most chunks that the node can have by its own word.
func (l *Listing) most() int64 {
	b := l.Node.Heartbeat()
	return min(b.Chunks, b.TotalBytes/leastChunk) + countSlack
}
