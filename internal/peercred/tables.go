package peercred

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// maxTable bounds the part of a table of sockets that is read, in bytes: some 25,000 of them.
const maxTable = 4 << 20

// inTables looks a socket up in the kernel's tables (proc_pid_net(5)).
func inTables(local, remote netip.AddrPort) (uint32, error) {
	found := errGone
	for _, path := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} { // there with ProcSubset=pid too
		f, err := os.Open(path)
		if err != nil {
			found = err
			continue
		}
		uid, err := inTable(io.LimitReader(f, maxTable), local, remote)
		f.Close()
		if err == nil {
			return uid, nil
		}
		if !errors.Is(err, errGone) {
			found = err
		}
	}
	return 0, found
}

// inTable reads one. After a line of names it has lines of number, local address, remote
// address, state, queues, timer, retransmissions, uid, timeout, inode and more.
func inTable(table io.Reader, local, remote netip.AddrPort) (uint32, error) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || !isAddress(fields[1], local) || !isAddress(fields[2], remote) {
			continue
		}
		state, err1 := strconv.ParseUint(fields[3], 16, 8)
		uid, err2 := strconv.ParseUint(fields[7], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return 0, fmt.Errorf("read the table of sockets: %w", err)
		}
		if held(uint8(state)) && fields[9] != "0" {
			return uint32(uid), nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read the table of sockets: %w", err)
	}
	return 0, errGone
}

// isAddress compares an address as the tables write it: words of 32 bits in the
// machine's order, in hexadecimal, and the port.
func isAddress(text string, a netip.AddrPort) bool {
	address, port, ok := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	n, errPort := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || errPort != nil || uint16(n) != a.Port() || len(b) != 4 && len(b) != 16 {
		return false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	found, _ := netip.AddrFromSlice(b)
	return found.Unmap() == a.Addr()
}
