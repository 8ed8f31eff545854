package wire

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// encodeMeta fills pb from m, and file when m has one. The chunk's name and the commit number are
// left out: the request itself carries them.
func encodeMeta(pb *wirepb.ChunkMeta, file *wirepb.FileMeta, m *raid.ChunkMeta) {
	pb.ArrayId = string(m.Array)
	pb.Level = m.Level
	pb.StripeSize = uint64(m.StripeSize)
	pb.Length = uint64(m.Length)
	pb.BlockCrc32C = m.Blocks
	pb.File = nil
	if f := m.File; f != nil {
		file.Id = int64(f.ID)
		file.Filename = f.Filename
		file.ContentType = f.ContentType
		file.Created = f.Created
		file.Size = uint64(f.Size)
		file.Sha256 = f.SHA256[:]
		file.Stripes = uint64(f.Stripes)
		pb.File = file
	}
}

// decodeMeta reads what encodeMeta wrote, for a payload of the given length. Its
// errors are raid.ErrInvalid.
func decodeMeta(name string, commit raid.Commit, pb *wirepb.ChunkMeta, payload int64) (m raid.ChunkMeta, err error) {
	key, err := raid.ParseChunkName(raid.ChunkName(name))
	if err != nil {
		return m, fmt.Errorf("read store request: %w: %q is not a chunk name", raid.ErrInvalid, clip(name, 64))
	}
	if pb == nil {
		return m, fmt.Errorf("read store request for %s: %w: it does not say what the chunk is", name, raid.ErrInvalid)
	}
	if pb.Length != uint64(payload) || int64(len(pb.BlockCrc32C)) != raid.BlockCount(payload) {
		return m, fmt.Errorf("read store request for %s: %w: %d bytes in %d blocks announced, %d bytes came",
			name, raid.ErrInvalid, pb.Length, len(pb.BlockCrc32C), payload)
	}
	if pb.StripeSize > math.MaxInt64 || !isID(pb.ArrayId) {
		return m, fmt.Errorf("read store request for %s: %w: stripe size %d of array %q",
			name, raid.ErrInvalid, pb.StripeSize, clip(pb.ArrayId, 30))
	}
	m = raid.ChunkMeta{
		Array: raid.ArrayID(pb.ArrayId), Key: key, Level: pb.Level, StripeSize: int64(pb.StripeSize),
		Length: payload, Blocks: pb.BlockCrc32C, Commit: commit.Number, CommitMAC: commit.MAC,
	}
	m.File, err = decodeFile(name, pb.File)
	return m, err
}

func decodeFile(name string, pb *wirepb.FileMeta) (*raid.FileMeta, error) {
	if pb == nil {
		return nil, nil
	}
	if len(pb.Sha256) != 32 || pb.Size > math.MaxInt64 || pb.Stripes > raid.MaxStripe+1 {
		return nil, fmt.Errorf("read store request for %s: %w: a file of %d bytes in %d stripes with a digest of %d bytes",
			name, raid.ErrInvalid, pb.Size, pb.Stripes, len(pb.Sha256))
	}
	return &raid.FileMeta{
		ID: raid.FileID(pb.Id), Filename: pb.Filename, ContentType: pb.ContentType, Created: pb.Created,
		Size: int64(pb.Size), SHA256: [32]byte(pb.Sha256), Stripes: int64(pb.Stripes),
	}, nil
}

// encodeHeartbeat writes a heartbeat.
func encodeHeartbeat(b Heartbeat) *wirepb.Heartbeat {
	return &wirepb.Heartbeat{
		TotalBytes: uint64(max(b.TotalBytes, 0)), FreeBytes: uint64(max(b.FreeBytes, 0)), Chunks: uint64(max(b.Chunks, 0)),
		HighestCommit: b.HighestCommit, FoundCommit: b.FoundCommit, Scanned: b.Scanned, ReadOnly: b.ReadOnly, Draining: b.Draining,
		Zone: b.Zone, Version: b.Version, Name: b.Name,
		ProvenCommit: b.Proven.Number, ProvenMac: b.Proven.MAC.Bytes(), FoundProvenCommit: b.FoundProven.Number, FoundProvenMac: b.FoundProven.MAC.Bytes(),
		TrashChunks: uint64(max(b.TrashChunks, 0)), TrashBytes: uint64(max(b.TrashBytes, 0)),
		DiskStallMs: uint32(min((b.DiskStall+time.Millisecond-1)/time.Millisecond, math.MaxUint32)),
		BadChunks:   uint64(max(b.Bad, 0)), Scrub: encodeScrub(b.Scrub), Wear: encodeWear(b.Wear),
	}
}

// maxHeartbeatText bounds the texts of a heartbeat, in bytes.
const maxHeartbeatText = 64

// decodeHeartbeat reads a heartbeat; numbers beyond int64 are cut to it, and texts to
// maxHeartbeatText.
func decodeHeartbeat(pb *wirepb.Heartbeat) Heartbeat {
	cut := func(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
	text := func(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxHeartbeatText)], "") }
	return Heartbeat{
		TotalBytes: cut(pb.GetTotalBytes()), FreeBytes: cut(pb.GetFreeBytes()), Chunks: cut(pb.GetChunks()),
		HighestCommit: pb.GetHighestCommit(), FoundCommit: pb.GetFoundCommit(), Scanned: pb.GetScanned(), ReadOnly: pb.GetReadOnly(), Draining: pb.GetDraining(),
		Zone: text(pb.GetZone()), Version: text(pb.GetVersion()), Name: text(pb.GetName()),
		Proven:      raid.Commit{Number: pb.GetProvenCommit(), MAC: raid.CommitMACOf(pb.GetProvenMac())},
		FoundProven: raid.Commit{Number: pb.GetFoundProvenCommit(), MAC: raid.CommitMACOf(pb.GetFoundProvenMac())},
		TrashChunks: cut(pb.GetTrashChunks()), TrashBytes: cut(pb.GetTrashBytes()),
		DiskStall: time.Duration(pb.GetDiskStallMs()) * time.Millisecond,
		Bad:       cut(pb.GetBadChunks()), Scrub: decodeScrub(pb.GetScrub()), Wear: decodeWear(pb.GetWear()),
	}
}
