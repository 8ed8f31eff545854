package mdns

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	// ownPatience bounds all of OwnName. avahi-daemon knows its own names at once;
	// what comes later comes from the network.
	ownPatience = 300 * time.Millisecond
	// ownAddresses is the number of addresses that are asked about.
	ownAddresses = 4
	// maxLabel is the longest part of a name between dots (RFC 1035, section 2.3.4).
	maxLabel = 63
)

// OwnName is the name under which avahi-daemon makes this machine known, in lower case. It is
// "pi.local", or "pi-2.local" where another machine had "pi.local" first. It is "" when
// avahi-daemon does not run or does not say. addresses are this machine's. socket is
// avahi-daemon's; empty: where it is by default.
//
// The answer may come from a stranger in the network. So only what avahi-daemon makes
// of the host name counts: its first part, or that with a number.
func OwnName(ctx context.Context, socket, hostname string, addresses []netip.Addr) string {
	ctx, cancel := context.WithTimeout(ctx, ownPatience)
	defer cancel()
	asked := 0
	for _, a := range addresses {
		if a.IsLoopback() || a.Is4In6() || asked == ownAddresses {
			continue
		}
		asked++
		if name := askOwn(ctx, socket, a); isOwn(name, hostname) {
			return name
		}
	}
	return ""
}

// askOwn asks whose name an address has.
func askOwn(ctx context.Context, socket string, a netip.Addr) string {
	if socket == "" {
		socket = avahiSocket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return ""
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, "RESOLVE-ADDRESS "+a.WithZone("").String()+"\n"); err != nil {
		return ""
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxLine)).ReadString('\n')
	fields := strings.Fields(line) // + INTERFACE PROTOCOL NAME
	if err != nil || len(fields) != 4 || fields[0] != "+" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(fields[3], "."))
}

// isOwn tells whether avahi-daemon may have made a name of a host name. It appends
// -2, -3 and so on, and shortens what becomes too long (avahi-common/alternative.c).
func isOwn(name, hostname string) bool {
	label, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	got, isLocal := strings.CutSuffix(name, ".local")
	if !isLocal || label == "" || len(got) > maxLabel {
		return false
	}
	if got == label {
		return true
	}
	dash := strings.LastIndexByte(got, '-')
	if dash < 1 || dash == len(got)-1 || strings.Trim(got[dash+1:], "0123456789") != "" {
		return false
	}
	base := got[:dash]
	if label == base {
		return true
	}
	// pi-2 becomes pi-3, and a long one is cut.
	if at := strings.LastIndexByte(label, '-'); at > 0 && strings.Trim(label[at+1:], "0123456789") == "" && label[:at] == base {
		return true
	}
	return len(got) == maxLabel && strings.HasPrefix(label, base)
}
