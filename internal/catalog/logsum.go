package catalog

import "encoding/binary"

// logSum is the checksum of a log, as SQLite's file format says (4.2): each frame's
// goes on from that of the frame before, and the first one's from the header's.
type logSum struct {
	big    bool // over big-endian numbers, else little-endian ones
	s0, s1 uint32
}

// sumAt is a checksum that is stored.
func sumAt(big bool, b []byte) logSum {
	return logSum{big, binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// add goes on over b, a multiple of eight bytes.
func (s *logSum) add(b []byte) {
	s0, s1 := s.s0, s.s1
	if s.big {
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.BigEndian.Uint32(b) + s1
			s1 += binary.BigEndian.Uint32(b[4:]) + s0
		}
	} else {
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
		}
	}
	s.s0, s.s1 = s0, s1
}
