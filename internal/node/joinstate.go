package node

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/wire"
)

// clone tells the owner of a copied card what to do.
const clone = "This card is a clone: machine-id differs from the one that made this identity. Run sudo raid-node reset-identity, then join"

// joinState says how the node stands to its array.
type joinState struct {
	who     *identity.Node // nil: it has not joined, or what it has is of no use
	problem string         // why it connects to nobody, for people; empty: it does
	broken  bool           // the problem is more than not to have joined yet
}

// identityDir returns the folder in which package identity keeps the node's key.
func (d *daemon) identityDir() string { return filepath.Join(d.cfg.StateDir, "identity") }

// joinedBy returns a controller's address as a person writes it after raid-node join.
func joinedBy(p ControllerAddress) string {
	if p.HTTPPort == 0 || p.HTTPPort == defaultHTTPPort {
		return p.Host
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(p.HTTPPort))
}

// afterwards ends what a person has to set right on disks that are looked at only
// when the daemon starts.
const afterwards = "; then: sudo systemctl restart raid-node"

// joinState looks at what is on the disks. It fails when that could not be read. Nothing
// is known then of what it says, and the next start may read it.
func (d *daemon) joinState() (joinState, error) {
	who, err := identity.LoadNode(d.identityDir(), d.machine)
	switch {
	case err == nil:
		problem, err := d.mismatch(who)
		if problem != "" || err != nil {
			return joinState{problem: problem, broken: true}, err
		}
		return joinState{who: who}, nil
	case errors.Is(err, identity.ErrNotJoined) && d.cfg.Plaintext != wire.PlaintextOff && d.cfg.Plaintext != "":
		return joinState{}, nil
	case errors.Is(err, identity.ErrNotJoined):
		return joinState{problem: fmt.Sprintf("Not joined: run sudo raid-node join %s with a token of the controller (there: sudo raidctl token create)", joinedBy(d.controllerAddress()))}, nil
	case errors.Is(err, identity.ErrClone):
		return joinState{problem: clone, broken: true}, nil
	case errors.Is(err, identity.ErrDamaged), errors.Is(err, identity.ErrExposed):
		return joinState{problem: "Not connected: " + err.Error() + afterwards, broken: true}, nil
	}
	return joinState{}, fmt.Errorf("%w. Nothing of it was changed, and the next start tries again. If it stays so, the card loses data (journalctl -k): sudo systemctl stop raid-node; sudo mv %[2]s %[2]s.bad; "+
		"sudo systemctl start raid-node; then join with the line of sudo raidctl token create --node %[3]s, which keeps id and chunks", err, filepath.Join(d.identityDir(), "node.pem"), d.disk.Node())
}

// mismatch says why identity and disk do not belong together. A disk without an
// array is made part of the one that the node has joined, which may fail.
func (d *daemon) mismatch(who *identity.Node) (problem string, err error) {
	if disk := d.disk.Node(); disk != who.ID() {
		return fmt.Sprintf("Not connected: this node joined as %s, and the disk in %s is that of node %s. Mount its own disk again%s. %s. "+
			"If neither disk nor chunks are needed any more: sudo raid-node reset-identity, then join as a new node", who.ID(), d.cfg.ChunkDir, disk, afterwards, rejoinText(disk)), nil
	}
	switch array := d.disk.Array(); array {
	case who.Array():
		return "", nil
	case "":
		return "", d.disk.Adopt(who.Array())
	default:
		return fmt.Sprintf("Not connected: this node has joined array %s, and the disk in %s belongs to array %s. "+
			"Mount its own disk again%s. Or run sudo raid-node reset-identity, then join with --adopt", who.Array(), d.cfg.ChunkDir, array, afterwards), nil
	}
}

// controllerAddress returns the address at which the controller is looked for. A person's
// word counts first, then the address when the node joined, then the default.
func (d *daemon) controllerAddress() ControllerAddress {
	remembered, err := readAddress(d.cfg.StateDir)
	if err != nil {
		d.cfg.Log.Warn("The controller is looked for where the configuration says", "reason", err)
	}
	return d.cfg.Controller.or(remembered).or(d.cfg.Fallback)
}
