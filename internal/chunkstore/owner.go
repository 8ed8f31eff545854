package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/raidpi/raidpi/internal/raid"
)

// Node is the node that the disk belongs to.
func (d *Disk) Node() raid.NodeID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.node
}

// Array is the array that the disk belongs to, or empty as long as it belongs to
// none.
func (d *Disk) Array() raid.ArrayID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.array
}

// Adopt makes the disk part of an array, durably. It fails with
// raid.ErrPrecondition when it is part of another.
func (d *Disk) Adopt(array raid.ArrayID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.array == array {
		return nil
	}
	if d.array != "" {
		return fmt.Errorf("join array %s: the disk belongs to array %s: %w", array, d.array, raid.ErrPrecondition)
	}
	if err := d.mark(array, d.node); err != nil {
		return fmt.Errorf("join array %s: %w", array, err)
	}
	return nil
}

// Reassign makes the disk part of an array, durably, although it may be part of
// another, whose chunks stay where they are. No Store may be open on the disk:
// the next one must not tell the new array of the old one's commit numbers.
func (d *Disk) Reassign(array raid.ArrayID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.array == array {
		return nil
	}
	// The old array's number goes first: without it the trailers are asked, and
	// those of other arrays do not count.
	err := d.FS.Remove(checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = syncDir(d.FS, ".")
	}
	if err == nil {
		err = d.mark(array, d.node)
	}
	if err != nil {
		return fmt.Errorf("move the disk to array %s: %w", array, err)
	}
	return nil
}

// NewNode draws a new node id for the disk, durably: for a node that has left its
// array, or whose card was copied. The chunks and the array stay.
func (d *Disk) NewNode() (raid.NodeID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, err := raid.NewID(d.random)
	if err != nil {
		return "", err
	}
	// The marker comes first, as at the first start. Who dies before the state
	// follows finds the remembered disk with another node id, and believes it.
	if err := d.mark(d.array, raid.NodeID(id)); err != nil {
		return "", fmt.Errorf("draw a new node id: %w", err)
	}
	state, err := openRoot(d.stateDir)
	if err != nil {
		return "", fmt.Errorf("draw a new node id: %w", err)
	}
	err = writeJSON(state, markerFile, remembered{Node: d.node, Disk: d.ID})
	if err := errors.Join(err, state.Close()); err != nil {
		return "", fmt.Errorf("draw a new node id: %w", err)
	}
	return d.node, nil
}

// mark writes the marker and then takes what it says for true. mu is held.
func (d *Disk) mark(array raid.ArrayID, node raid.NodeID) error {
	if err := writeMarker(d.FS, marker{Array: array, Node: node, Disk: d.ID}); err != nil {
		return err
	}
	d.array, d.node = array, node
	return nil
}

// Close releases the disk.
func (d *Disk) Close() error { return closeFS(d.FS) }

func closeFS(fsys FS) error {
	if c, ok := fsys.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
