package raid

import (
	"fmt"
	"hash/crc32"
	"strings"
)

// BlockSize is the payload that one checksum covers, in bytes. A range read fetches whole blocks.
const BlockSize = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C (Castagnoli, RFC 3720 appendix B.4) of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// SealLine makes a small file of a line of text: the line, a space and its CRC-32C in
// eight hexadecimal digits.
func SealLine(line string) string { return fmt.Sprintf("%s %08x\n", line, Checksum([]byte(line))) }

// OpenLine returns the line of which SealLine has made text. It fails with ErrCorrupt.
func OpenLine(text string) (line string, err error) {
	if i := strings.LastIndexByte(text, ' '); i >= 0 && SealLine(text[:i]) == text {
		return text[:i], nil
	}
	return "", fmt.Errorf("its checksum is wrong: %w", ErrCorrupt)
}

// UpdateChecksum continues a CRC-32C over b.
func UpdateChecksum(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }

// BlockCount is the number of blocks, and so of block checksums, of a payload.
func BlockCount(length int64) int64 { return (length + BlockSize - 1) / BlockSize }

// BlockChecksums are the CRC-32Cs of each BlockSize bytes of b.
func BlockChecksums(b []byte) []uint32 {
	out := make([]uint32, 0, BlockCount(int64(len(b))))
	for len(b) > 0 {
		n := min(len(b), BlockSize)
		out = append(out, Checksum(b[:n]))
		b = b[n:]
	}
	return out
}

// CombineBlocks computes the CRC-32C of a whole payload from those of its
// blocks. ok is false when the number of blocks does not fit the length.
func CombineBlocks(blocks []uint32, length int64) (crc uint32, ok bool) {
	if length < 0 || int64(len(blocks)) != BlockCount(length) {
		return 0, false
	}
	for i, b := range blocks {
		if i < len(blocks)-1 {
			crc = mulmod(fullBlock, crc) ^ b
			continue
		}
		crc = combine(crc, b, length-int64(i)*BlockSize)
	}
	return crc, true
}

// The arithmetic below is that of polynomials over GF(2) modulo the Castagnoli
// polynomial, bit-reflected. The most significant bit is the coefficient of x^0.
// Appending n zero bytes to a message multiplies its CRC by x^(8n). A CRC's
// initial value and final XOR cancel out, as in zlib's crc32_combine.

const poly = crc32.Castagnoli

var (
	x2n       = powersOfX()
	fullBlock = xPow8n(BlockSize)
)

// combine returns the CRC of a message A followed by B of lenB bytes.
func combine(a, b uint32, lenB int64) uint32 { return mulmod(xPow8n(lenB), a) ^ b }

// mulmod multiplies two polynomials modulo poly.
func mulmod(a, b uint32) uint32 {
	var p uint32
	for m := uint32(1) << 31; m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ poly
		} else {
			b >>= 1
		}
	}
	return p
}

// powersOfX holds x^(2^k) mod poly at index k.
func powersOfX() (t [64]uint32) {
	t[0] = 1 << 30 // x^1
	for k := 1; k < len(t); k++ {
		t[k] = mulmod(t[k-1], t[k-1])
	}
	return t
}

// xPow8n is x^(8n) mod poly.
func xPow8n(n int64) uint32 {
	p := uint32(1) << 31 // x^0
	for k := 3; n != 0 && k < 64; n, k = n>>1, k+1 {
		if n&1 != 0 {
			p = mulmod(x2n[k], p)
		}
	}
	return p
}
