package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// Content is a stream of Size bytes that Seed determines: equal seeds give
// equal bytes, different ones differ everywhere.
type Content struct {
	Seed uint64
	Size int64
}

// Reader reads the content from its beginning.
func (c Content) Reader() io.Reader {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], c.Seed)
	return io.LimitReader(rand.NewChaCha8(seed), c.Size)
}

// SHA256 is the digest of the content.
func (c Content) SHA256() (sum [32]byte) {
	h := sha256.New()
	if _, err := io.Copy(h, c.Reader()); err != nil {
		panic(err) // neither a generator nor a hash fails
	}
	h.Sum(sum[:0])
	return sum
}

// Bytes is the whole content.
func (c Content) Bytes() []byte {
	b := make([]byte, c.Size)
	if _, err := io.ReadFull(c.Reader(), b); err != nil {
		panic(err) // a generator does not fail
	}
	return b
}
