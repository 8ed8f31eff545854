package mdns

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// avahi stands for avahi-daemon.
type avahi struct {
	path string

	mu    sync.Mutex
	asked []string
}

// silent is the answer that does not come.
const silent = ""

// startAvahi answers questions as reply says, for the command without its beginning:
// "IPV4 name".
func startAvahi(t *testing.T, reply func(question string) string) *avahi {
	t.Helper()
	a := &avahi{path: filepath.Join(t.TempDir(), "socket")}
	ln, err := net.Listen("unix", a.path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); a.serve(c, reply) })
		}
	})
	return a
}

func (a *avahi) serve(c net.Conn, reply func(string) string) {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	question := strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "RESOLVE-HOSTNAME-")
	a.mu.Lock()
	a.asked = append(a.asked, question)
	a.mu.Unlock()
	if answer := reply(question); answer != silent {
		_, _ = io.WriteString(c, answer) // who asked may be gone
		return
	}
	_, _ = r.ReadByte() // until the other side hangs up
}

func (a *avahi) questions() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked...)
}

// knows answers for one name at one address, and is silent otherwise.
func knows(question, answer string) func(string) string {
	return func(q string) string {
		if q == question {
			return answer
		}
		return silent
	}
}

// dns is a system's resolver whose server knows one address for all names, none, or
// is silent. It hangs up when the test is over: net.Resolver, cancelled, waits on for
// some seconds in the background.
func dns(t *testing.T, addr netip.Addr, isSilent bool) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		here, there := net.Pipe()
		t.Cleanup(func() { _ = there.Close() })
		go func() { // ends with the connection
			defer there.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(there, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(there, query); err != nil {
					return
				}
				if isSilent {
					continue
				}
				if _, err := there.Write(respond(query, addr)); err != nil {
					return
				}
			}
		}()
		return here, nil
	}}
}

// respond is the answer to a query over TCP (RFC 1035, section 4).
func respond(query []byte, addr netip.Addr) []byte {
	end := 12
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	question := query[12 : end+5]
	isA := question[len(question)-3] == 1
	flags, answers := uint16(0x8180), uint16(0)
	if !addr.IsValid() {
		flags |= 3 // NXDOMAIN
	} else if isA {
		answers = 1
	}
	b := append([]byte{0, 0}, query[:2]...)
	for _, v := range []uint16{flags, 1, answers, 0, 0} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = append(b, question...)
	if answers == 1 {
		b = append(b, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		b = append(b, addr.AsSlice()...)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return b
}

// listen has somebody at an address of this machine, and returns the port.
func listen(t *testing.T, ip string) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
