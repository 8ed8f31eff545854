package peercred

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// The messages of sock_diag(7), linux/inet_diag.h: a header of netlink, then
//
//	request (inet_diag_req_v2)               answer (inet_diag_msg)
//	0  family, protocol, ext, pad            0  family, state, timer, retrans
//	4  states                                4  the socket
//	8  the socket                            52 expires, rqueue, wqueue
//	                                         64 uid
//	                                         68 inode
//
// and of the socket (inet_diag_sockid): ports 2 and 2, big-endian, addresses 16 and
// 16, interface 4, cookie 8.
const (
	sockDiagByFamily = 20
	headerSize       = unix.SizeofNlMsghdr
	requestSize      = 56
	answerSize       = 72
	sockAddresses    = 36 // bytes of a socket that are its ports and addresses
	maxErrno         = 4095
)

func diagRequest(local, remote netip.AddrPort) []byte {
	b := make([]byte, headerSize+requestSize)
	native := binary.NativeEndian
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], sockDiagByFamily)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[headerSize:]
	r[0], r[1] = family(local), unix.IPPROTO_TCP
	native.PutUint32(r[4:], ^uint32(0)) // in whatever state
	copy(r[8:], sockID(local, remote))
	copy(r[8+sockAddresses+4:], bytes.Repeat([]byte{0xff}, 8)) // INET_DIAG_NOCOOKIE
	return b
}

func family(a netip.AddrPort) byte {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// sockID is the ports and addresses of a socket.
func sockID(local, remote netip.AddrPort) []byte {
	id := make([]byte, sockAddresses)
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:], local.Addr().AsSlice())
	copy(id[20:], remote.Addr().AsSlice())
	return id
}

// parseDiag reads an answer. A socket of IPv6 may have addresses of IPv4.
func parseDiag(b []byte, local, remote netip.AddrPort) (uint32, error) {
	native := binary.NativeEndian
	if len(b) < headerSize+4 {
		return 0, errors.New("sock_diag's answer is too short")
	}
	kind, body := native.Uint16(b[4:]), b[headerSize:]
	switch {
	case kind == unix.NLMSG_ERROR:
		errno := -int32(native.Uint32(body))
		switch {
		case errno == int32(syscall.ENOENT):
			return 0, errGone
		case errno > 0 && errno <= maxErrno:
			return 0, fmt.Errorf("%w: %w", errNoDiag, syscall.Errno(errno))
		}
		return 0, errNoDiag
	case kind != sockDiagByFamily || len(body) < answerSize:
		return 0, fmt.Errorf("sock_diag's answer is a message of type %d and %d bytes", kind, len(body))
	}
	state, id := body[1], body[4:4+sockAddresses]
	uid, inode := native.Uint32(body[64:]), native.Uint32(body[68:])
	if same := bytes.Equal(id, sockID(local, remote)) || bytes.Equal(id, mapped(local, remote)); !same || !held(state) || inode == 0 {
		return 0, errGone
	}
	return uid, nil
}

func mapped(local, remote netip.AddrPort) []byte {
	as6 := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return sockID(as6(local), as6(remote))
}
