package wire

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// ProtocolVersion is the version of the native protocol that this program
// speaks. The controller also accepts the one before it.
//
//	1: the first
const ProtocolVersion = 1

// The handshake properties of native peers, as zmtp names them: on the wire they
// carry a leading "X-".
const (
	propVersion = "raid-v"
	propArray   = "raid-array"
	propNode    = "raid-node"
	propSession = "raid-session"
	propRole    = "raid-role"
)

// role tells the four connections of a session apart.
type role int

const (
	roleStore   role = iota // port 5557, the node's PULL
	roleData                // port 5558, the node's PUSH for payloads
	roleControl             // port 5558, the node's PUSH for everything else
	roleRequest             // port 5559, the node's SUB
	roleCount
)

func (r role) String() string {
	return [...]string{"store", "data", "control", "request"}[r]
}

// hello describes a native node, as it does itself in its READY.
type hello struct {
	version int
	array   raid.ArrayID // empty: the node belongs to none yet
	node    raid.NodeID
	session raid.SessionID
	role    role
}

// isLab reports whether a peer with these properties is a plain libzmq program.
func isLab(p zmtp.Properties) bool { return p[propVersion] == "" }

// properties writes the hello for a READY.
func (h hello) properties() zmtp.Properties {
	p := zmtp.Properties{
		propVersion: strconv.Itoa(h.version),
		propArray:   string(h.array),
		propNode:    string(h.node),
		propSession: string(h.session),
	}
	if h.role == roleData || h.role == roleControl {
		p[propRole] = h.role.String()
	}
	return p
}

// parseHello reads a native node's properties on a connection to one of our ports. The port is
// named by the socket type that the peer must have there.
func parseHello(peer zmtp.Peer) (h hello, err error) {
	p := peer.Properties
	if h.version, err = strconv.Atoi(p[propVersion]); err != nil {
		return h, fmt.Errorf("read handshake: %q is not a protocol version", clip(p[propVersion], 20))
	}
	if err = checkVersion(h.version); err != nil {
		return h, err
	}
	h.array, h.node, h.session = raid.ArrayID(p[propArray]), raid.NodeID(p[propNode]), raid.SessionID(p[propSession])
	if h.array != "" && !isID(string(h.array)) || !isID(string(h.node)) || !isID(string(h.session)) {
		return h, errors.New("read handshake: array, node or session is not a raidpi id")
	}
	switch {
	case peer.Type == zmtp.Pull:
		h.role = roleStore
	case peer.Type == zmtp.Sub:
		h.role = roleRequest
	case peer.Type == zmtp.Push && p[propRole] == roleData.String():
		h.role = roleData
	case peer.Type == zmtp.Push && p[propRole] == roleControl.String():
		h.role = roleControl
	default:
		return h, fmt.Errorf("read handshake: a %s connection with role %q is not one of a session's", peer.Type, clip(p[propRole], 20))
	}
	return h, nil
}

func isID(s string) bool {
	_, err := raid.DecodeID(s)
	return err == nil
}

// checkVersion judges a node's protocol version as the controller does.
func checkVersion(v int) error {
	switch {
	case v > ProtocolVersion:
		return fmt.Errorf("node speaks protocol %d, controller %d: upgrade raid-controller", v, ProtocolVersion)
	case v < max(1, ProtocolVersion-1):
		return fmt.Errorf("node speaks protocol %d, controller %d: upgrade raid-node", v, ProtocolVersion)
	}
	return nil
}

// welcome returns the controller's properties for its READY to a native node.
func welcome(array raid.ArrayID) zmtp.Properties {
	return zmtp.Properties{propVersion: strconv.Itoa(ProtocolVersion), propArray: string(array)}
}

// parseWelcome reads the controller's READY as a native node does. A controller
// is one version ahead at most: it would have refused an older node.
func parseWelcome(p zmtp.Properties) (raid.ArrayID, error) {
	v, err := strconv.Atoi(p[propVersion])
	if err != nil {
		return "", fmt.Errorf("read handshake: %q is not a protocol version", clip(p[propVersion], 20))
	}
	if v < ProtocolVersion {
		return "", fmt.Errorf("controller speaks protocol %d, this node %d: upgrade raid-controller", v, ProtocolVersion)
	}
	if v > ProtocolVersion+1 {
		return "", fmt.Errorf("controller speaks protocol %d, this node %d: upgrade raid-node", v, ProtocolVersion)
	}
	if !isID(p[propArray]) {
		return "", fmt.Errorf("read handshake: the controller's array id %q is not a raidpi id", clip(p[propArray], 30))
	}
	return raid.ArrayID(p[propArray]), nil
}

// checkArray compares a node's array, empty when it has none yet, with the
// controller's. The text is for both ends' logs.
func checkArray(node, controller raid.ArrayID) error {
	if node == "" || node == controller {
		return nil
	}
	return fmt.Errorf("node belongs to array %s, controller is array %s: "+
		"point the node at its own controller; or take its disk along: sudo raid-node leave, then join with --adopt", node, controller)
}

// clip shortens what a peer sent to at most n bytes, for messages.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
