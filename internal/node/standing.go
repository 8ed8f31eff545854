package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/wire"
)

// clone is what the owner of a copied card reads.
const clone = "This card is a clone: machine-id differs from the one that made this identity. Run sudo raid-node reset-identity, then join"

// standing is how the node stands to its array.
type standing struct {
	who     *identity.Node // nil: it has not joined, or what it has is of no use
	problem string         // why it connects to nobody, for people; empty: it does
	broken  bool           // the problem is more than not to have joined yet
}

// identityDir is where package identity keeps the node's key.
func (d *daemon) identityDir() string { return filepath.Join(d.cfg.StateDir, "identity") }

// stand looks at what is on the disks.
func (d *daemon) stand() standing {
	who, err := identity.LoadNode(d.identityDir(), d.machine)
	switch {
	case err == nil:
		if problem := d.misfit(who); problem != "" {
			return standing{problem: problem, broken: true}
		}
		return standing{who: who}
	case errors.Is(err, identity.ErrNotJoined) && d.cfg.Plaintext != wire.PlaintextOff && d.cfg.Plaintext != "":
		return standing{}
	case errors.Is(err, identity.ErrNotJoined):
		return standing{problem: fmt.Sprintf("Not joined: run sudo raid-node join %s with a token of the controller (there: sudo raidctl token create)", d.place().Host)}
	case errors.Is(err, identity.ErrClone):
		return standing{problem: clone, broken: true}
	}
	return standing{problem: "Not connected: " + err.Error(), broken: true}
}

// misfit says why identity and disk do not belong together. A disk without an
// array is made part of the one that the node has joined.
func (d *daemon) misfit(who *identity.Node) string {
	if disk := d.disk.Node(); disk != who.ID() {
		return fmt.Sprintf("Not connected: this node joined as %s, and the disk in %s is that of node %s. Mount its own disk again. %s. "+
			"If neither disk nor chunks are needed any more: sudo raid-node reset-identity, then join as a new node", who.ID(), d.cfg.ChunkDir, disk, goOnAs(disk))
	}
	switch array := d.disk.Array(); array {
	case who.Array():
		return ""
	case "":
		if err := d.disk.Adopt(who.Array()); err != nil {
			return "Not connected: " + err.Error()
		}
		return ""
	default:
		return fmt.Sprintf("Not connected: this node has joined array %s, and the disk in %s belongs to array %s. "+
			"Mount its own disk again; or run sudo raid-node reset-identity, then join with --adopt", who.Array(), d.cfg.ChunkDir, array)
	}
}

// place is where the controller is looked for: where a person said, else where
// it was when the node joined, else at the default.
func (d *daemon) place() Place {
	remembered, err := readPlace(d.cfg.StateDir)
	if err != nil {
		d.cfg.Log.Warn("The controller is looked for where the configuration says", "reason", err)
	}
	return d.cfg.Controller.or(remembered).or(d.cfg.Fallback)
}
