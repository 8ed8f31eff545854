package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// When SQLite opens a database, it takes the log's frames up to the first whose checksum
// does not fit, and drops the rest without a word: that is how a power cut leaves a log.
// What tells rot from that is what comes after. A transaction is flushed before the next
// one begins to be written. So a bad frame with a transaction behind it that is followed
// by another one was good once, on the disk. Rot in the last transaction can't be told
// from a power cut; that its commit is missing is noticed by who has heard its number.

// logReader looks at a log that nobody uses.
type logReader struct {
	file   io.ReaderAt
	frames int64
	header [logHeader]byte
	big    bool
}

// logDamage tells what is wrong with the log of the database at path, for a person.
// "" is nothing that a power cut may not have done.
func logDamage(path string) (what string, err error) {
	l, end, err := openLog(path)
	if err != nil || l == nil {
		return "", err
	}
	defer end()
	if !l.headerGood() {
		return l.withoutHeader(path)
	}
	return l.behindBad()
}

// openLog opens the log of the database at path; nil, when there is none that has a frame.
func openLog(path string) (l *logReader, end func(), err error) {
	f, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil || st.Size() < logHeader+frameSize {
		_ = f.Close()
		return nil, nil, err
	}
	l = &logReader{file: f, frames: (st.Size() - logHeader) / frameSize}
	if _, err := f.ReadAt(l.header[:], 0); err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("read the catalog's log: %w", err)
	}
	return l, func() { _ = f.Close() }, nil
}

// headerGood tells whether SQLite takes the log for one.
func (l *logReader) headerGood() bool {
	magic := binary.BigEndian.Uint32(l.header[:])
	l.big = magic&1 != 0
	sum := logSum{big: l.big}
	sum.add(l.header[:24])
	return magic&^1 == 0x377f0682 && sum == sumAt(l.big, l.header[24:]) && binary.BigEndian.Uint32(l.header[8:]) == pageSize
}

// frame is one of a log's.
type frame struct {
	head [frameHeader]byte
	page [pageSize]byte
}

func (f *frame) salts() []byte  { return f.head[8:16] }
func (f *frame) number() uint32 { return binary.BigEndian.Uint32(f.head[:]) }
func (f *frame) commits() bool  { return binary.BigEndian.Uint32(f.head[4:]) != 0 }

// after is the frame's checksum, when that of the frame before is from.
func (f *frame) after(from logSum) logSum {
	from.add(f.head[:8])
	from.add(f.page[:])
	return from
}

func (l *logReader) read(n int64, f *frame) error {
	var b [frameSize]byte
	if _, err := l.file.ReadAt(b[:], logHeader+n*frameSize); err != nil {
		return fmt.Errorf("read frame %d of the catalog's log: %w", n+1, err)
	}
	copy(f.head[:], b[:])
	copy(f.page[:], b[frameHeader:])
	return nil
}

// behindBad looks for the first frame that SQLite does not take, and for what is behind
// it.
func (l *logReader) behindBad() (string, error) {
	var f frame
	salts := l.header[16:24]
	bad := int64(-1)
	from := []logSum{sumAt(l.big, l.header[24:])} // that the next frame may go on from
	committed := false                            // the frame before ended a transaction, and comes not before the bad one
	for n := range l.frames {
		if err := l.read(n, &f); err != nil {
			return "", err
		}
		stored := sumAt(l.big, f.head[16:])
		fits, ours := false, bytes.Equal(f.salts(), salts)
		for _, s := range from {
			fits = fits || f.after(s) == stored
		}
		switch {
		case bad < 0 && fits && ours && f.number() != 0:
			from = []logSum{stored}
			continue
		case bad < 0 && fits && !older(f.salts(), salts): // nothing but these few bytes is wrong
			return fmt.Sprintf("frame %d of %d", n+1, l.frames), nil
		case bad < 0:
			bad = n
		case fits && ours && committed:
			return fmt.Sprintf("frame %d of %d", bad+1, l.frames), nil
		}
		committed = f.commits() && ours // frames of an earlier time of the log lie behind its end
		next := []logSum{stored}
		if n == bad { // its stored checksum may be what is wrong
			next = append(next, f.after(from[0]))
		}
		from = next
	}
	return "", nil
}

// older tells whether a frame's salts look like those of an earlier time of the log. The
// head of a frame may lie on two sectors, and a power cut may leave the first one as
// it was. Rot changes a byte or two.
func older(salts, ours []byte) bool {
	differ := 0
	for i := range salts {
		if salts[i] != ours[i] {
			differ++
		}
	}
	return differ > 2
}

// withoutHeader looks at a log that SQLite throws away since its header is not good. A
// power cut while a log is begun anew leaves one whose frames are all in the database.
func (l *logReader) withoutHeader(path string) (string, error) {
	for _, big := range []bool{false, true} {
		l.big = big
		pages, err := l.committed()
		if err != nil {
			return "", err
		}
		if lost, err := l.missing(path, pages); err != nil || lost {
			return "its header", err
		}
	}
	return "", nil
}

// committed are the pages of the transactions that are whole, from the first frame on
// that goes on from the one before: the last frame of each.
func (l *logReader) committed() (map[uint32]int64, error) {
	var f frame
	var salts []byte
	var before logSum
	done, open := map[uint32]int64{}, map[uint32]int64{}
	for n := range l.frames {
		if err := l.read(n, &f); err != nil {
			return nil, err
		}
		stored := sumAt(l.big, f.head[16:])
		fits := n > 0 && f.after(before) == stored && f.number() != 0
		switch {
		case !fits && salts != nil:
			return done, nil
		case fits:
			salts = bytes.Clone(f.salts())
			open[f.number()] = n
		}
		if fits && f.commits() {
			for number, at := range open {
				done[number] = at
			}
			clear(open)
		}
		before = stored
	}
	return done, nil
}

// missing tells whether the database has a page otherwise than the log.
func (l *logReader) missing(path string, pages map[uint32]int64) (bool, error) {
	db, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer db.Close()
	var f frame
	page := make([]byte, pageSize)
	for number, n := range pages {
		if err := l.read(n, &f); err != nil {
			return false, err
		}
		if _, err := db.ReadAt(page, (int64(number)-1)*pageSize); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		} else if err != nil || !bytes.Equal(page[:sealAt], f.page[:sealAt]) {
			return true, nil
		}
	}
	return false, nil
}
