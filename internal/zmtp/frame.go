package zmtp

import (
	"encoding/binary"
)

// The flags of a frame, https://rfc.zeromq.org/spec/23/ "framing".
const (
	flagMore    = 1 << 0
	flagLong    = 1 << 1
	flagCommand = 1 << 2
	flagsKnown  = flagMore | flagLong | flagCommand

	shortHeader = 2
	longHeader  = 9
)

// maxCommand is the largest command in bytes that is read, READY included.
const maxCommand = 4 << 10

// header is a parsed frame header.
type header struct {
	more, command bool
	size          int64
}

// readHeader reads and checks the next frame's header. Nothing is allocated.
func (in *inbound) readHeader() (h header, err error) {
	if err = in.fill(shortHeader); err != nil {
		return h, err
	}
	flags := in.buf[in.r]
	if flags&^flagsKnown != 0 {
		return h, malformed("frame with unknown flags %#02x", flags)
	}
	h.more, h.command = flags&flagMore != 0, flags&flagCommand != 0
	if flags&flagLong == 0 {
		h.size = int64(in.buf[in.r+1])
		in.r += shortHeader
	} else {
		if err = in.fill(longHeader); err != nil {
			return h, err
		}
		size := binary.BigEndian.Uint64(in.buf[in.r+1:])
		if size > 1<<62 {
			return h, malformed("frame of %d bytes", size)
		}
		h.size = int64(size)
		in.r += longHeader
	}
	if h.command {
		if h.more {
			return h, malformed("command in several frames")
		}
		if h.size > maxCommand {
			return h, malformed("command of %d bytes, at most %d are read", h.size, maxCommand)
		}
	}
	return h, nil
}

// appendHeader appends the header of a frame of size bytes.
func appendHeader(b []byte, flags byte, size int) []byte {
	if size < 256 {
		return append(b, flags, byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, flags|flagLong), uint64(size))
}

// splitCommand takes a command's body apart.
func splitCommand(body []byte) (name string, data []byte, err error) {
	if len(body) == 0 || int(body[0]) > len(body)-1 || body[0] == 0 {
		return "", nil, malformed("command without a name")
	}
	n := 1 + int(body[0])
	return string(body[1:n]), body[n:], nil
}

// appendCommand appends a whole command frame.
func appendCommand(b []byte, name string, data ...[]byte) []byte {
	size := 1 + len(name)
	for _, d := range data {
		size += len(d)
	}
	b = appendHeader(b, flagCommand, size)
	b = append(append(b, byte(len(name))), name...)
	for _, d := range data {
		b = append(b, d...)
	}
	return b
}
