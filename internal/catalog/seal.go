package catalog

import (
	"encoding/binary"
	"hash/crc32"
)

// Each page of the catalog ends with a seal, in bytes that SQLite sets aside for
// others ("reserved space", byte 20 of its file format's header) and never reads:
//
//	0                                        4088     4092     4096
//	┌───────────────────────────────────────┬────────┬────────┐
//	│ the page as SQLite knows it           │ "rps1" │ CRC    │
//	└───────────────────────────────────────┴────────┴────────┘
//
// CRC is the CRC-32C of the page's number and of what is before the seal, both
// numbers big-endian. So a page that lies in another's place is noticed too. Seals
// are in the database alone: the log's frames have checksums of their own, and zeros
// where the seal will be. The idea is that of SQLite's cksumvfs.
const (
	pageSize = 4096
	sealSize = 8
	sealAt   = pageSize - sealSize
)

var (
	sealTag    = [4]byte{'r', 'p', 's', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// verdictOfPage reads what a page's seal says of it.
type verdictOfPage int

const (
	pageGood    verdictOfPage = iota
	pageZero                  // nothing but zeros: it was never written, or it is lost
	pageForeign               // no seal: another program wrote it
	pageRotten                // not what was written
)

// sealPage writes the seal of a page of that number, from 1.
func sealPage(page []byte, number uint32) {
	copy(page[sealAt:], sealTag[:])
	binary.BigEndian.PutUint32(page[sealAt+4:], pageSum(page, number))
}

func pageSum(page []byte, number uint32) uint32 {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], number)
	sum := crc32.Update(0, castagnoli, n[:])
	if number == 1 {
		sum = crc32.Update(sum, castagnoli, withoutCounters(page[:headerSize]))
		page = page[headerSize:]
	}
	return crc32.Update(sum, castagnoli, page[:len(page)-sealSize])
}

// headerSize is of the database's header, which begins its first page.
const headerSize = 100

// withoutCounters is a database's header with zeros for what any SQLite changes that
// makes a copy, and nobody goes by: the journal's kind, the counters of changes, and who
// made the last one.
func withoutCounters(header []byte) []byte {
	var h [headerSize]byte
	copy(h[:], header)
	clear(h[18:20])
	clear(h[24:28])
	clear(h[40:44])
	clear(h[92:100])
	return h[:]
}

// judgePage compares a page with its seal.
func judgePage(page []byte, number uint32) verdictOfPage {
	seal := page[sealAt:]
	switch {
	case [4]byte(seal) == sealTag && binary.BigEndian.Uint32(seal[4:]) == pageSum(page, number):
		return pageGood
	case binary.BigEndian.Uint64(seal) != 0:
		return pageRotten
	}
	for _, b := range page[:sealAt] {
		if b != 0 {
			return pageForeign
		}
	}
	return pageZero
}

// isSealed tells from a database's first bytes, at least 24, whether its pages have
// room for seals.
func isSealed(header []byte) bool {
	return string(header[:16]) == "SQLite format 3\x00" && binary.BigEndian.Uint16(header[16:]) == pageSize && header[20] == sealSize
}
