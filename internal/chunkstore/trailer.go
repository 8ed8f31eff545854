package chunkstore

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/chunkstore/trailerpb"
	"github.com/raidpi/raidpi/internal/raid"
)

// appendTrailer appends what follows the payload of a chunk: record and footer.
func appendTrailer(b []byte, m *raid.ChunkMeta) ([]byte, error) {
	pb := &trailerpb.Trailer{
		ArrayId:       string(m.Array),
		UploadId:      m.Key.Upload[:],
		ChunkName:     string(m.Key.Name()),
		Level:         m.Level,
		StripeSize:    uint64(m.StripeSize),
		Stripe:        uint64(m.Key.Stripe),
		Part:          uint32(m.Key.Part),
		Attempt:       uint32(m.Key.Attempt),
		PayloadLength: uint64(m.Length),
		BlockCrc32C:   m.Blocks,
		CatalogCommit: m.Commit,
		CommitMac:     m.CommitMAC.Bytes(),
	}
	if f := m.File; f != nil {
		pb.File = &trailerpb.File{
			Id: int64(f.ID), Filename: f.Filename, ContentType: f.ContentType, Created: f.Created,
			Size: uint64(f.Size), Sha256: f.SHA256[:], Stripes: uint64(f.Stripes),
		}
	}
	start := len(b)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, pb)
	if err != nil {
		return nil, fmt.Errorf("write trailer: %w: %w", raid.ErrInvalid, err)
	}
	record := b[start:]
	if len(record) > maxRecord {
		return nil, fmt.Errorf("write trailer: %d bytes of description, at most %d fit: %w", len(record), maxRecord, raid.ErrTooLarge)
	}
	return appendFooter(b, record), nil
}

// parseRecord reads a trailer's record and checks it against its file's size and name. A chunk file
// copied over another still has its own name in the trailer, and is refused.
func parseRecord(record []byte, size int64, name raid.ChunkName) (m raid.ChunkMeta, err error) {
	var pb trailerpb.Trailer
	if err := proto.Unmarshal(record, &pb); err != nil {
		return m, fmt.Errorf("its record is unreadable: %w: %w", raid.ErrCorrupt, err)
	}
	length := size - footerLen - int64(len(record))
	if length < 0 || pb.PayloadLength != uint64(length) {
		return m, fmt.Errorf("its record tells of a payload of %d bytes, there are %d: %w", pb.PayloadLength, length, raid.ErrCorrupt)
	}
	if int64(len(pb.BlockCrc32C)) != raid.BlockCount(length) {
		return m, fmt.Errorf("its record has checksums of %d blocks for %d bytes: %w", len(pb.BlockCrc32C), length, raid.ErrCorrupt)
	}
	if pb.ChunkName != string(name) {
		return m, fmt.Errorf("it is chunk %q by its record: %w", pb.ChunkName, raid.ErrCorrupt)
	}
	key, err := raid.ParseChunkName(name)
	if err != nil || string(pb.UploadId) != string(key.Upload[:]) || pb.Stripe != uint64(key.Stripe) ||
		uint64(pb.Part) != uint64(key.Part) || uint64(pb.Attempt) != uint64(key.Attempt) {
		return m, fmt.Errorf("its record contradicts its name: %w", raid.ErrCorrupt)
	}
	m = raid.ChunkMeta{
		Array: raid.ArrayID(pb.ArrayId), Key: key, Level: pb.Level, StripeSize: int64(pb.StripeSize),
		Length: length, Blocks: pb.BlockCrc32C, Commit: pb.CatalogCommit, CommitMAC: raid.CommitMACOf(pb.CommitMac),
	}
	if pb.StripeSize > math.MaxInt64 {
		return m, fmt.Errorf("its record has a stripe size of %d: %w", pb.StripeSize, raid.ErrCorrupt)
	}
	m.File, err = parseFile(pb.File)
	return m, err
}

func parseFile(pb *trailerpb.File) (*raid.FileMeta, error) {
	if pb == nil {
		return nil, nil
	}
	if pb.Size > math.MaxInt64 || pb.Stripes > math.MaxInt64 || len(pb.Sha256) != len(raid.FileMeta{}.SHA256) {
		return nil, fmt.Errorf("its record describes no file: %w", raid.ErrCorrupt)
	}
	return &raid.FileMeta{
		ID: raid.FileID(pb.Id), Filename: pb.Filename, ContentType: pb.ContentType, Created: pb.Created,
		Size: int64(pb.Size), SHA256: [32]byte(pb.Sha256), Stripes: int64(pb.Stripes),
	}, nil
}

// checkPayload compares a payload with what its description says.
func checkPayload(m *raid.ChunkMeta, payload []byte) error {
	if m.Length != int64(len(payload)) {
		return fmt.Errorf("%d bytes came where %d were announced: %w", len(payload), m.Length, raid.ErrCorrupt)
	}
	if int64(len(m.Blocks)) != raid.BlockCount(m.Length) {
		return fmt.Errorf("checksums of %d blocks came with %d bytes: %w", len(m.Blocks), m.Length, raid.ErrCorrupt)
	}
	return checkBlocks(m.Blocks, 0, payload)
}

// checkBlocks compares b, which begins at the given block, with the checksums of
// a whole payload.
func checkBlocks(blocks []uint32, first int64, b []byte) error {
	for i := first; len(b) > 0; i++ {
		n := min(len(b), raid.BlockSize)
		if raid.Checksum(b[:n]) != blocks[i] {
			return fmt.Errorf("the checksum of its bytes %d to %d is wrong: %w", i*raid.BlockSize, i*raid.BlockSize+int64(n)-1, raid.ErrCorrupt)
		}
		b = b[n:]
	}
	return nil
}
