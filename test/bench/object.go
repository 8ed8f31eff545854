package main

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// object is one thing that is stored. No block of it occurs in another object,
// so that nothing along the way can profit from repetition.
type object struct {
	number int
	size   int64
	id     int64  // given by the array
	crc    uint32 // CRC-32C of the bytes that were sent
}

const (
	blockSize = 4 << 10
	sandSize  = 4 << 20
)

// sand is random bytes that all objects are made of. Each block of an object is a piece of it with
// the object's and the block's number on it.
type sand []byte

func newSand() sand {
	s := make(sand, sandSize)
	_, _ = rand.NewChaCha8([32]byte{'r', 'a', 'i', 'd'}).Read(s) // never fails
	return s
}

// body reads an object and keeps the checksum of what was read so far in it.
// It costs a copy and a CRC; it shares the machine with what it measures.
type body struct {
	sand  sand
	obj   *object
	off   int64
	block [blockSize]byte
}

func (b *body) Read(p []byte) (int, error) {
	if b.off >= b.obj.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && b.off < b.obj.size {
		if b.off%blockSize == 0 {
			b.fill(b.off / blockSize)
		}
		in := b.off % blockSize
		k := copy(p[n:], b.block[in:min(blockSize, in+b.obj.size-b.off)])
		n += k
		b.off += int64(k)
	}
	b.obj.crc = crc32.Update(b.obj.crc, castagnoli, p[:n])
	return n, nil
}

func (b *body) fill(number int64) {
	from := (number*blockSize + int64(b.obj.number)*7*blockSize) % sandSize
	copy(b.block[:], b.sand[from:from+blockSize])
	binary.LittleEndian.PutUint64(b.block[0:], uint64(b.obj.number))
	binary.LittleEndian.PutUint64(b.block[8:], uint64(number))
}
