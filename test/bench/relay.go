package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// relay writes what a plain program would have to write that copies each file of one disk to
// another, as healing does. Nodes know nobody but the controller, so each copy goes through a third
// party. One end reads a file. The middle receives it over loopback TCP and sends it on. The other
// end makes a new file of it, durable with its name, and answers. All three compare it with its
// CRC-32C. There is no TLS, no catalog, no trailer, and nothing is read back. All ends are
// goroutines of this process.
type relay struct {
	dir  string
	size int64 // bytes of each file
}

// relayLanes is the number of files that are on their way at the same time.
const relayLanes = 16

// relayHeader is the length, in bytes, of what goes before a file: its number and its CRC-32C.
const relayHeader = 12

// run copies so many files, and removes all of them afterwards.
func (r relay) run(files int) (out outcome, err error) {
	if err := os.RemoveAll(r.dir); err != nil {
		return out, fmt.Errorf("relay: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	data := newSand()
	for i := range files {
		if err := r.makeSource(i, data); err != nil {
			return out, fmt.Errorf("relay: %w", err)
		}
	}
	lanes, err := r.open()
	if err != nil {
		return out, fmt.Errorf("relay: %w", err)
	}
	defer func() { err = errors.Join(err, lanes.close()) }()
	before, err := ownCPU()
	if err != nil {
		return out, fmt.Errorf("relay: %w", err)
	}
	sum := crc32.Checksum(data[:r.size], castagnoli)
	l := load{name: "relay", size: r.size, clients: relayLanes, count: files}
	out, err = l.each(func(i int, _ []byte) error {
		lane := <-lanes.free
		defer func() { lanes.free <- lane }()
		return lane.copy(r.source(i), i, sum)
	})
	if err != nil {
		return out, fmt.Errorf("relay: %w", err)
	}
	after, err := ownCPU()
	if err != nil {
		return out, fmt.Errorf("relay: %w", err)
	}
	out.cpu = after - before
	return out, nil
}

func (r relay) source(i int) string {
	return filepath.Join(r.dir, fmt.Sprint("from", i%floorDirs), fmt.Sprintf("%06d", i))
}

func (r relay) target(i int) string {
	return filepath.Join(r.dir, fmt.Sprint("to", i%floorDirs), fmt.Sprintf("%06d", i))
}

// makeSource writes a file that is then copied, and the folder of its copy.
func (r relay) makeSource(i int, data []byte) error {
	for _, path := range []string{r.source(i), r.target(i)} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(r.source(i), data[:r.size], 0o644)
}

// lanes are the connections of a relay.
type lanes struct {
	free  chan *lane
	conns []net.Conn
	ends  sync.WaitGroup // of the goroutines in the middle and at the other end
}

// lane is one pair of connections, for one file at a time.
type lane struct {
	out net.Conn // to the middle
	buf []byte
}

func (r relay) open() (*lanes, error) {
	ls := &lanes{free: make(chan *lane, relayLanes)}
	for range relayLanes {
		out, in, err := loopback()
		if err != nil {
			return nil, errors.Join(err, ls.close())
		}
		ls.conns = append(ls.conns, out, in)
		on, end, err := loopback()
		if err != nil {
			return nil, errors.Join(err, ls.close())
		}
		ls.conns = append(ls.conns, on, end)
		// What goes wrong there closes the connection, which the lane notices.
		ls.ends.Go(func() { defer in.Close(); _ = r.pass(in, on) })
		ls.ends.Go(func() { defer end.Close(); _ = r.keep(end) })
		ls.free <- &lane{out: out, buf: make([]byte, relayHeader+r.size)}
	}
	return ls, nil
}

func (ls *lanes) close() (err error) {
	for _, c := range ls.conns {
		if failed := c.Close(); !errors.Is(failed, net.ErrClosed) {
			err = errors.Join(err, failed)
		}
	}
	ls.ends.Wait()
	return err
}

// loopback makes a TCP connection of this process with itself.
func loopback() (one, other net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if one, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	if other, err = ln.Accept(); err != nil {
		return nil, nil, errors.Join(err, one.Close())
	}
	return one, other, nil
}

// copy has one file copied, and returns when the copy is durable.
func (l *lane) copy(path string, number int, sum uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, l.buf[relayHeader:]); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(l.buf, uint64(number))
	binary.LittleEndian.PutUint32(l.buf[8:], sum)
	if err := checkRelayed(l.buf); err != nil {
		return err
	}
	if _, err := l.out.Write(l.buf); err != nil {
		return err
	}
	_, err = io.ReadFull(l.out, l.buf[:1])
	return err
}

func checkRelayed(b []byte) error {
	if crc32.Checksum(b[relayHeader:], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return errors.New("its checksum is wrong")
	}
	return nil
}

// pass is the middle: it sends on what comes in, and then the answer back.
func (r relay) pass(in, on net.Conn) error {
	defer on.Close()
	buf := make([]byte, relayHeader+r.size)
	for {
		if _, err := io.ReadFull(in, buf); err != nil {
			return err
		}
		if err := checkRelayed(buf); err != nil {
			return err
		}
		if _, err := on.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(on, buf[:1]); err != nil {
			return err
		}
		if _, err := in.Write(buf[:1]); err != nil {
			return err
		}
	}
}

// keep is the other end: it makes a file of what comes in, and answers.
func (r relay) keep(in net.Conn) error {
	buf := make([]byte, relayHeader+r.size)
	for {
		if _, err := io.ReadFull(in, buf); err != nil {
			return err
		}
		if err := checkRelayed(buf); err != nil {
			return err
		}
		if err := r.write(int(binary.LittleEndian.Uint64(buf)), buf[relayHeader:]); err != nil {
			return err
		}
		if _, err := in.Write(buf[:1]); err != nil {
			return err
		}
	}
}

// write makes a file that is durable, and whole whenever it can be seen.
func (r relay) write(number int, data []byte) error {
	path := r.target(number)
	tmp, dir := path+".tmp", filepath.Dir(path)
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
