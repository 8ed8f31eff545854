package mdns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// avahiSocket is the path on which avahi-daemon takes questions in its simple protocol, a
// line each way (avahi-daemon/simple-protocol.c). nss-mdns asks in it, too.
const avahiSocket = "/run/avahi-daemon/socket"

const (
	// maxName bounds what is asked for (RFC 1035, section 2.3.4).
	maxName = 253
	// maxLine bounds what is read of an answer, in bytes. In avahi a name has at most
	// 1013.
	maxLine = 2048
	// preference is the time that IPv6 waits for IPv4. Both questions are sent at once, since
	// nobody says no: an answer does not come.
	preference = 300 * time.Millisecond
)

// ask finds a name by multicast DNS.
func (d *Dialer) ask(ctx context.Context, family, host string) (netip.Addr, error) {
	name := strings.TrimSuffix(host, ".")
	if !isSayable(name) {
		return netip.Addr{}, fmt.Errorf("%w: it is no host's name", ErrNoAnswer)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var addr netip.Addr
	var err error
	switch family {
	case "ip4":
		addr, err = d.askFor(limited, false, name)
	case "ip6":
		addr, err = d.askFor(limited, true, name)
	default:
		addr, err = d.askBoth(limited, name)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = ErrNoAnswer // there was time to answer
	}
	return addr, err
}

// isSayable tells whether a name can be put into a line.
func isSayable(name string) bool {
	return len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// askBoth prefers IPv4, which every Pi's network has. Nothing that was started goes
// on when it returns.
func (d *Dialer) askBoth(ctx context.Context, name string) (netip.Addr, error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan found, 2)
	for _, v6 := range []bool{false, true} {
		asking.Go(func() {
			addr, err := d.askFor(ctx, v6, name)
			if v6 && err == nil {
				select {
				case <-time.After(preference):
				case <-ctx.Done():
				}
			}
			answers <- found{addr, err}
		})
	}
	var err error
	for range 2 {
		f := <-answers
		if f.err == nil {
			return f.addr, nil
		}
		err = f.err
	}
	return netip.Addr{}, err
}

// askFor asks avahi-daemon one question.
func (d *Dialer) askFor(ctx context.Context, v6 bool, name string) (netip.Addr, error) {
	path := d.Socket
	if path == "" {
		path = avahiSocket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED): // the latter after a crash
		return netip.Addr{}, ErrNotRunning
	case err != nil: // not wrapped: it is no error of the connection that was asked for
		return netip.Addr{}, fmt.Errorf("avahi-daemon can't be asked: %v", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	command := "RESOLVE-HOSTNAME-IPV4 "
	if v6 {
		command = "RESOLVE-HOSTNAME-IPV6 "
	}
	_, err = io.WriteString(conn, command+name+"\n")
	var line string
	if err == nil {
		line, err = bufio.NewReader(io.LimitReader(conn, maxLine)).ReadString('\n')
	}
	switch {
	case ctx.Err() != nil:
		return netip.Addr{}, ctx.Err()
	case err != nil:
		return netip.Addr{}, fmt.Errorf("avahi-daemon gave no answer: %v", err)
	}
	return parse(line, v6)
}

// parse reads the line of an answer:
//
//   - INTERFACE PROTOCOL NAME ADDRESS
//     -CODE TEXT
//
// INTERFACE is its index, PROTOCOL what the answer came by. What the address is was
// said by a stranger.
func parse(line string, v6 bool) (netip.Addr, error) {
	if strings.HasPrefix(line, "-") {
		return netip.Addr{}, ErrNoAnswer // after five seconds; or the name is not one
	}
	fields := strings.Fields(line)
	if len(fields) != 5 || fields[0] != "+" {
		return netip.Addr{}, fmt.Errorf("avahi-daemon answers in an unknown way: %.80q", line)
	}
	index, err := strconv.ParseInt(fields[1], 10, 32)
	addr, badAddr := netip.ParseAddr(fields[4])
	switch {
	case err != nil, badAddr != nil, addr.Is4() == v6, addr.Is4In6(), addr.Zone() != "":
		return netip.Addr{}, fmt.Errorf("avahi-daemon answers in an unknown way: %.80q", line)
	case addr.IsUnspecified(), addr.IsMulticast(), addr == broadcast:
		return netip.Addr{}, fmt.Errorf("%w, but with %v, which is no machine's address", ErrNoAnswer, addr)
	case v6 && addr.IsLinkLocalUnicast():
		return zoned(addr, int(index))
	}
	return addr, nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// zoned adds the interface by which a link-local address is reached.
func zoned(addr netip.Addr, index int) (netip.Addr, error) {
	if index <= 0 {
		return netip.Addr{}, fmt.Errorf("avahi-daemon names no interface for %v", addr)
	}
	if i, err := net.InterfaceByIndex(index); err == nil {
		return addr.WithZone(i.Name), nil
	}
	return addr.WithZone(strconv.Itoa(index)), nil
}
