package wire

import (
	"context"
	"fmt"
	"math"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// Describe is List with what the node knows of each chunk. A node of an earlier version
// answers names alone: those are not Described.
func (s *Session) Describe(ctx context.Context, req ListRequest) (chunks []raid.Listed, more bool, err error) {
	limit := req.Limit
	if limit <= 0 || limit > maxDescribed {
		limit = maxDescribed
	}
	o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_List{List: &wirepb.ListOp{
		After: string(req.After), Limit: uint32(limit), MinRun: req.MinRun, MaxRun: req.MaxRun, Describe: true,
	}}})
	if o.err != nil {
		return nil, false, fmt.Errorf("list chunks: %w", o.err)
	}
	return o.resp.describeResult(limit)
}

// describeResult checks a successful answer to a Describe of at most limit chunks.
func (r *response) describeResult(limit int) ([]raid.Listed, bool, error) {
	names, more, err := r.listResult(limit)
	if err != nil {
		return nil, false, err
	}
	l := r.pb.GetList()
	chunks := make([]raid.Listed, len(names))
	for i, n := range names {
		chunks[i].Name = n
	}
	told := len(l.GetErrors())
	if told == 0 && len(l.GetLengths()) == 0 && len(l.GetCrc32C()) == 0 {
		return chunks, more, nil
	}
	if told != len(names) || len(l.Lengths) != told || len(l.Crc32C) != told {
		return nil, false, fmt.Errorf("list chunks: %w: the node described %d of %d chunks", errInternal, told, len(names))
	}
	for i := range chunks {
		if l.Lengths[i] > math.MaxInt64 {
			return nil, false, fmt.Errorf("list chunks: %w: chunk %s is said to have %d bytes", errInternal, names[i], l.Lengths[i])
		}
		c := &chunks[i]
		c.Described, c.Length, c.CRC, c.Err = true, int64(l.Lengths[i]), l.Crc32C[i], decodeError(l.Errors[i], "")
	}
	return chunks, more, nil
}
