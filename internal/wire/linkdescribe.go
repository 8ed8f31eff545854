package wire

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// Describer answers a List that asks for more than names. Not all nodes can.
type Describer interface {
	// Describe is Handler.List with what the node knows of each chunk. It may return
	// fewer than there are within the limit, with more set, when the rest takes long.
	Describe(ctx context.Context, req ListRequest) (chunks []raid.Listed, more bool, err error)
}

// list answers a List, with names alone where nothing more is asked for or known.
func (s *linkSession) list(ctx context.Context, req ListRequest) (*wirepb.Response_List, error) {
	result := &wirepb.ListResult{}
	var err error
	if d := s.link.cfg.Describer; req.describe && d != nil {
		err = describe(ctx, d, req, result)
	} else {
		result.Names, result.More, err = listNames(ctx, s.link.cfg.Handler, req)
	}
	return &wirepb.Response_List{List: result}, err
}

// describe fills a result with as many chunks as fit one answer.
func describe(ctx context.Context, d Describer, req ListRequest, result *wirepb.ListResult) error {
	chunks, more, err := d.Describe(ctx, req)
	if err != nil {
		return err
	}
	size := 0
	for _, c := range chunks {
		// A name with its tag and length, an error, a checksum, a length.
		size += len(c.Name) + 2 + 1 + 4 + protowire.SizeVarint(uint64(c.Length))
		if size > maxResponse*9/10 {
			more = true
			break
		}
		code, _ := encodeError(c.Err)
		result.Names = append(result.Names, string(c.Name))
		result.Errors = append(result.Errors, code)
		result.Lengths = append(result.Lengths, uint64(c.Length))
		result.Crc32C = append(result.Crc32C, c.CRC)
	}
	result.More = more
	return nil
}
