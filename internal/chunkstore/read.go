package chunkstore

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// ReadRequest asks for whole blocks of a chunk.
type ReadRequest struct {
	Name raid.ChunkName
	// Offset is a multiple of raid.BlockSize; so is Length, unless the range ends
	// at the payload's end.
	Offset, Length int64
	ExpectLength   int64  // of the whole payload
	ExpectCRC      uint32 // CRC-32C of the whole payload
	Dst            []byte // len == Length
	// Unchecked asks for the bytes as they lie on the disk, for a caller who knows
	// the blocks' checksums from elsewhere. The result then has no Blocks.
	Unchecked bool
}

// ReadResult describes the chunk that was read from.
type ReadResult struct {
	Length int64    // of the whole payload
	Blocks []uint32 // CRC-32C of each raid.BlockSize bytes of the whole payload
}

// Read fills r.Dst with verified bytes, unless they are wanted Unchecked. A chunk that is not there
// fails with raid.ErrNotFound. One that is corrupt, or not what the caller expects, fails with
// raid.ErrCorrupt. A range that no chunk of ExpectLength has fails with raid.ErrInvalid. After an
// error the content of Dst is undefined.
func (s *Store) Read(ctx context.Context, r ReadRequest) (ReadResult, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return ReadResult{}, err
	}
	defer leave()
	res, err := s.read(r)
	if err != nil {
		return ReadResult{}, fmt.Errorf("read chunk %s: %w", clip(string(r.Name)), err)
	}
	return res, nil
}

func (s *Store) read(r ReadRequest) (res ReadResult, err error) {
	end := r.Offset + r.Length
	if r.Offset < 0 || r.Length < 0 || end < r.Offset || end > r.ExpectLength || int64(len(r.Dst)) != r.Length ||
		r.Offset%raid.BlockSize != 0 || end%raid.BlockSize != 0 && end != r.ExpectLength {
		return res, fmt.Errorf("%d bytes from %d of %d into %d are no whole blocks: %w",
			r.Length, r.Offset, r.ExpectLength, len(r.Dst), raid.ErrInvalid)
	}
	if r.Unchecked {
		return ReadResult{Length: r.ExpectLength}, s.readUnchecked(r)
	}
	c, err := s.openWanted(r.Name, r.ExpectLength, r.ExpectCRC)
	if err != nil {
		return res, err
	}
	defer c.close()
	if err := c.read(r.Dst, r.Offset); err != nil {
		return res, s.found(r.Name, err)
	}
	if err := checkBlocks(c.meta.Blocks, r.Offset/raid.BlockSize, r.Dst); err != nil {
		return res, s.found(r.Name, err)
	}
	return ReadResult{Length: c.meta.Length, Blocks: c.meta.Blocks}, nil
}

// readUnchecked fills r.Dst from the chunk's file, whatever its trailer says. A
// payload begins where its file does. The chunk is no better known afterwards, so
// nothing is reported.
func (s *Store) readUnchecked(r ReadRequest) error {
	f, err := s.openFile(r.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	return readAt(f, r.Dst, r.Offset)
}

// Verify reads a whole chunk from disk and checks every block, and that the
// chunk is the one that the caller expects. It fails like Read.
func (s *Store) Verify(ctx context.Context, name raid.ChunkName, length int64, crc uint32) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.verify(ctx, name, length, crc); err != nil {
		return fmt.Errorf("verify chunk %s: %w", clip(string(name)), err)
	}
	return nil
}

// verifyLen is the number of bytes that Verify reads at once.
const verifyLen = 4 * raid.BlockSize

func (s *Store) verify(ctx context.Context, name raid.ChunkName, length int64, crc uint32) error {
	c, err := s.openWanted(name, length, crc)
	if err != nil {
		return err
	}
	defer c.close()
	buf := s.verifyBuffers.Get().(*[verifyLen]byte)
	defer s.verifyBuffers.Put(buf)
	for at := int64(0); at < length; at += verifyLen {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(verifyLen, length-at)]
		if err := c.read(b, at); err != nil {
			return s.found(name, err)
		}
		if err := checkBlocks(c.meta.Blocks, at/raid.BlockSize, b); err != nil {
			return s.found(name, err)
		}
	}
	return nil
}

// Meta returns what a chunk says of itself. It checks the trailer and not the
// payload.
func (s *Store) Meta(ctx context.Context, name raid.ChunkName) (raid.ChunkMeta, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return raid.ChunkMeta{}, err
	}
	defer leave()
	c, err := s.open(name)
	if err != nil {
		return raid.ChunkMeta{}, fmt.Errorf("read trailer of chunk %s: %w", clip(string(name)), err)
	}
	defer c.close()
	return c.meta, nil
}
