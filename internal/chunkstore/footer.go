package chunkstore

import (
	"encoding/binary"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// A chunk file is its payload, a record and a footer; docs/chunk-format.md
// explains it to those who read it with other tools. Integers are little-endian.
//
//	0                 payload_length         + record length         file size
//	+--------------------+------------------------+----------------------+
//	| payload            | record                 | footer, 20 bytes     |
//	+--------------------+------------------------+----------------------+
//
//	footer
//	 0        4        8     10     12                   20
//	+--------+--------+------+------+--------------------+
//	| record | check  | ver- | flags| magic              |
//	| length | sum    | sion | = 0  | 89 r a i d p i 0A  |
//	+--------+--------+------+------+--------------------+
//
// The checksum is the CRC-32C of the record followed by the footer's bytes 0 to 3 and 8 to 11. So a
// bit that flips in the footer is told from a version that is not known yet. Whatever later
// versions change, the footer stays.
const (
	footerLen     = 20
	formatVersion = 1
	magic         = "\x89raidpi\n"

	// maxRecord bounds a record, in bytes. It has room for the checksums of a payload of 15 GiB,
	// and is far more than a filename of 5,000 characters needs.
	maxRecord = 1 << 20
)

// footer is the part of a footer that is not constant.
type footer struct {
	recordLen int64
	checksum  uint32
	version   uint16
	flags     uint16
}

// appendFooter closes a chunk file whose record is given.
func appendFooter(b, record []byte) []byte {
	f := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(record)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = append(b, 0, 0)
	b = append(b, magic...)
	binary.LittleEndian.PutUint32(b[f+4:], footerChecksum(record, b[f:]))
	return b
}

func footerChecksum(record, footer []byte) uint32 {
	crc := raid.Checksum(record)
	crc = raid.UpdateChecksum(crc, footer[0:4])
	return raid.UpdateChecksum(crc, footer[8:12])
}

// parseFooter reads the last footerLen bytes of a file of the given size. It
// bounds what the footer says by the size; the checksum is for checkRecord.
func parseFooter(b []byte, size int64) (f footer, err error) {
	if len(b) != footerLen || string(b[12:]) != magic {
		return f, fmt.Errorf("it does not end in a chunk's footer: %w", raid.ErrCorrupt)
	}
	f.recordLen = int64(binary.LittleEndian.Uint32(b))
	f.checksum = binary.LittleEndian.Uint32(b[4:])
	f.version = binary.LittleEndian.Uint16(b[8:])
	f.flags = binary.LittleEndian.Uint16(b[10:])
	if f.recordLen > maxRecord || f.recordLen > size-footerLen {
		return f, fmt.Errorf("its footer tells of a record of %d bytes in a file of %d: %w", f.recordLen, size, raid.ErrCorrupt)
	}
	return f, nil
}

// checkRecord compares the record that precedes a footer with its checksum, and
// refuses versions that are not known here.
func checkRecord(f footer, record, footer []byte) error {
	if footerChecksum(record, footer) != f.checksum {
		return fmt.Errorf("the checksum of its record is wrong: %w", raid.ErrCorrupt)
	}
	if f.version != formatVersion || f.flags != 0 {
		return fmt.Errorf("it has format version %d with flags %#x, and this raid-node knows version %d: %w",
			f.version, f.flags, formatVersion, raid.ErrUnsupported)
	}
	return nil
}
