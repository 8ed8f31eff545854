package catalog

import (
	"encoding/binary"
	"math"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

func (f *sealFS) onRead(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32 {
	s := f.file(file)
	rc := s.under.read(tls, file, buf, n, at)
	readsOfAll.Add(1)
	switch {
	case s.isLog && rc == 0 && n == pageSize:
		return s.readFrame(tls, file, libc.GoBytes(buf, pageSize), at)
	case s.isLog:
	case at == 0 && n >= 24 && n < pageSize:
		return s.readHeader(libc.GoBytes(buf, int(n)), rc)
	case rc == 0 && n == pageSize && at%pageSize == 0 && s.sealed.Load():
		return s.readPage(libc.GoBytes(buf, pageSize), uint32(at/pageSize+1))
	}
	return rc
}

// readHeader learns whether pages are sealed. SQLite takes how it begins a database
// from the header of what is there. Of an empty one it is told to leave room for seals.
func (s *sealedFile) readHeader(header []byte, rc int32) int32 {
	switch {
	case rc == 0 && isSealed(header):
		s.sealed.Store(true)
	case rc == sqlite3.SQLITE_IOERR_SHORT_READ && s.sealed.Load() && header[0] == 0:
		binary.BigEndian.PutUint16(header[16:], pageSize)
		header[20] = sealSize
	}
	return rc
}

// readPage checks a page, and takes the seal off.
func (s *sealedFile) readPage(page []byte, number uint32) int32 {
	v := judgePage(page, number)
	if v != pageGood && s.watch != nil {
		s.watch.found(number, v)
	}
	switch v {
	case pageGood:
		clear(page[sealAt:])
	case pageForeign:
	default:
		return sqlite3.SQLITE_CORRUPT
	}
	return sqlite3.SQLITE_OK
}

func (f *sealFS) onWrite(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32 {
	s := f.file(file)
	if s.isLog {
		s.log.written(n, at)
		return s.under.write(tls, file, buf, n, at)
	}
	if n != pageSize || at%pageSize != 0 {
		return s.under.write(tls, file, buf, n, at)
	}
	page := libc.GoBytes(buf, pageSize)
	if at == 0 && isSealed(page) {
		s.sealed.Store(true)
	}
	if !s.sealed.Load() {
		return s.under.write(tls, file, buf, n, at)
	}
	sealPage(page, uint32(at/pageSize+1))
	rc := s.under.write(tls, file, buf, n, at)
	clear(page[sealAt:]) // it may be SQLite's cache, from which the log is written
	return rc
}

// A log begins with a header, and has frames of a header and a page each.
const (
	logHeader   = 32
	frameHeader = 24
	frameSize   = frameHeader + pageSize
)

// logFile is an open log.
type logFile struct {
	// loose is where the frames begin whose checksums are not yet what they will
	// be. A transaction that writes a page again overwrites its frame, and gives all from
	// there on new checksums when it commits. Only the writer reads them meanwhile.
	loose int64
	next  int64 // the frame whose header was just written, or -1
	big   bool  // its checksums are over big-endian numbers
	known bool  // big is
}

func (l *logFile) reset() { l.loose, l.next = math.MaxInt64, -1 }

// written takes note of a write.
func (l *logFile) written(n int32, at int64) {
	switch frame := (at - logHeader) / frameSize; {
	case at < logHeader:
		l.reset()
	case n == frameHeader && (at-logHeader)%frameSize == 0:
		if frame <= l.loose { // all from there on is written anew
			l.reset()
		}
		l.next = frame
	case n == pageSize:
		if frame != l.next {
			l.loose = min(l.loose, frame)
		}
		l.next = -1
	}
}

// readFrame checks a page of the log against the checksum of its frame, which goes on
// from that of the frame before.
func (s *sealedFile) readFrame(tls *libc.TLS, file uintptr, page []byte, at int64) int32 {
	frame := (at - logHeader) / frameSize
	if (at-logHeader)%frameSize != frameHeader || frame >= s.log.loose {
		return sqlite3.SQLITE_OK
	}
	p := tls.Alloc(logHeader + frameHeader)
	defer tls.Free(logHeader + frameHeader)
	b := libc.GoBytes(p, logHeader+frameHeader)
	header, before := b[:frameHeader], b[frameHeader:]
	if rc := s.under.read(tls, file, p, frameHeader, at-frameHeader); rc != 0 {
		return rc
	}
	if !s.log.known || frame == 0 {
		if rc := s.under.read(tls, file, p+frameHeader, logHeader, 0); rc != 0 {
			return rc
		}
		s.log.big, s.log.known = before[3]&1 != 0, true
	}
	from := before[24:]
	if frame > 0 {
		if rc := s.under.read(tls, file, p+frameHeader, 8, at-frameHeader-frameSize+16); rc != 0 {
			return rc
		}
		from = before
	}
	sum := sumAt(s.log.big, from)
	sum.add(header[:8])
	sum.add(page)
	if sum != sumAt(s.log.big, header[16:]) {
		if s.watch != nil {
			s.watch.rotten(frame)
		}
		return sqlite3.SQLITE_CORRUPT
	}
	return sqlite3.SQLITE_OK
}
