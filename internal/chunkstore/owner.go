package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

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

// Reassign makes the disk part of an array, durably, although it may be part of another. The chunks
// of that one are kept in a folder beside. The new array does not know their uploads, and would
// remove them as leftovers of an earlier run. No Store may be open on the disk. The next one must
// not tell the new array of the old one's commit numbers.
func (d *Disk) Reassign(array raid.ArrayID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.array == array { // an attempt before this one may have failed behind the marker
		return restoreKept(d.FS, array, d.node)
	}
	// The old array's number goes first: without it the trailers are asked, and
	// those of other arrays do not count.
	err := d.FS.Remove(checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && d.array != "" {
		err = moveToKept(d.FS, keptFolder(d.array, d.node))
	}
	if err == nil {
		err = syncDir(d.FS, ".")
	}
	if err == nil {
		err = d.mark(array, d.node)
	}
	if err == nil {
		err = restoreKept(d.FS, array, d.node)
	}
	if err != nil {
		return fmt.Errorf("move the disk to array %s: %w", array, errors.Join(err, restoreKept(d.FS, d.array, d.node)))
	}
	return nil
}

const (
	// keptPrefix begins the names of folders with chunks of other arrays.
	keptPrefix = "kept-"
	// maxKept is the number of folders that one array may have there. A disk that goes to and fro
	// has one for each time.
	maxKept = 100
)

// moveToKept moves all chunks into a folder, without the lab's, which belong to no
// array. After a crash in between, restoreKept puts them back where they were at the
// next start.
func moveToKept(fsys FS, folder string) error {
	fanouts, err := fanoutsIn(fsys, ".")
	for _, name := range fanouts {
		if err == nil {
			err = moveFanout(fsys, folder, name)
		}
	}
	if err != nil {
		return fmt.Errorf("keep the chunks of the other array: %w", err)
	}
	return nil
}

// keptFolder is the folder for what a disk held of an array as a node that it is not
// any more.
func keptFolder(array raid.ArrayID, node raid.NodeID) string {
	return keptPrefix + string(array) + "-" + string(node)
}

// restoreKept undoes moveToKept for the array and the node that the disk belongs to.
func restoreKept(fsys FS, array raid.ArrayID, node raid.NodeID) error {
	if array == "" {
		return nil
	}
	folder := keptFolder(array, node)
	fanouts, err := fanoutsIn(fsys, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range fanouts {
		if err == nil {
			err = restoreFanout(fsys, folder, name)
		}
	}
	if err == nil && len(fanouts) > 0 {
		err = errors.Join(syncDir(fsys, "."), syncDir(fsys, folder))
	}
	if err != nil {
		return fmt.Errorf("bring this node's own chunks back from %s: %w", folder, err)
	}
	return nil
}

// restoreFanout moves a fan-out directory, or the chunks in it when there are newer
// ones in its place. No two chunks have one name.
func restoreFanout(fsys FS, folder, name string) error {
	err := fsys.Rename(join(folder, name), name)
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	err = eachName(fsys, join(folder, name), func(chunk string) error {
		return fsys.Rename(join(join(folder, name), chunk), join(name, chunk))
	})
	return errors.Join(err, syncDir(fsys, name), syncDir(fsys, join(folder, name)))
}

func fanoutsIn(fsys FS, dir string) (fanouts []string, err error) {
	err = eachName(fsys, dir, func(name string) error {
		if isFanout(name) {
			fanouts = append(fanouts, name)
		}
		return nil
	})
	return fanouts, err
}

func moveFanout(fsys FS, folder, name string) error {
	for n := 1; ; n++ {
		into := folder
		if n > 1 {
			into = fmt.Sprintf("%s.%d", folder, n)
		}
		if err := fsys.Mkdir(into, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err := fsys.Rename(name, join(into, name))
		if n < maxKept && (errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY)) {
			continue // from an earlier time
		}
		if err != nil {
			return err
		}
		return syncDir(fsys, into)
	}
}

// NewNode draws a new node id for the disk, durably. It is for a node that has left its array, or
// whose card was copied. The array stays. The chunks are kept in a folder beside, whose name is
// returned, "" when there are none. The catalog knows them under the old id, and asks nobody for
// them. After an error the disk is unchanged, or has its new id and no chunks in place.
func (d *Disk) NewNode() (id raid.NodeID, kept string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	drawn, err := raid.NewID(d.random)
	if err != nil {
		return "", "", err
	}
	if d.array != "" {
		fanouts, err := fanoutsIn(d.FS, ".")
		if err == nil && len(fanouts) > 0 {
			kept = keptFolder(d.array, d.node)
			err = errors.Join(moveToKept(d.FS, kept), syncDir(d.FS, "."))
		}
		if err != nil {
			return "", "", fmt.Errorf("draw a new node id: %w", errors.Join(err, restoreKept(d.FS, d.array, d.node)))
		}
	}
	if err := d.beNode(raid.NodeID(drawn)); err != nil {
		return "", "", fmt.Errorf("draw a new node id: %w", errors.Join(err, restoreKept(d.FS, d.array, d.node)))
	}
	return d.node, kept, nil
}

// beNode writes down the id of the disk's node. mu is held.
func (d *Disk) beNode(id raid.NodeID) error {
	// The marker comes first, as at the first start. A node that dies before
	// the state follows finds the remembered disk with another node id, and believes it.
	if err := d.mark(d.array, id); err != nil {
		return err
	}
	state, err := openRoot(d.stateDir)
	if err != nil {
		return err
	}
	err = writeJSON(state, markerFile, remembered{Node: d.node, Disk: d.ID})
	return errors.Join(err, state.Close())
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
