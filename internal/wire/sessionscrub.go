package wire

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// StartScrub has the node begin to read all its chunks now, unless it is doing so. It
// fails with raid.ErrUnsupported on a node that does not know the request.
func (s *Session) StartScrub(ctx context.Context) error {
	o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Scrub{Scrub: &wirepb.ScrubOp{}}})
	if o.err != nil {
		return fmt.Errorf("start the scrub: %w", o.err)
	}
	return nil
}

// Bad asks for the names after the given one, at most 400, of chunks that the node calls
// corrupt. more says that there are others. The names are those of chunks, but nothing
// else is sure about them. It fails like StartScrub.
func (s *Session) Bad(ctx context.Context, after raid.ChunkName) (names []raid.ChunkName, more bool, err error) {
	o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Bad{
		Bad: &wirepb.BadOp{After: string(after), Limit: maxListed},
	}})
	if o.err != nil {
		return nil, false, fmt.Errorf("ask for corrupt chunks: %w", o.err)
	}
	return o.resp.listResult(maxListed)
}
