package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/raidpi/raidpi/internal/raid"
)

// ErrDisk is wrapped by errors that say that a chunk directory may not be used
// as it is. A person has to decide; starting again does not help.
var ErrDisk = errors.New("chunk directory refused")

// ErrInUse is wrapped by errors that say that another process has a chunk
// directory open. It may end, so starting again may help.
var ErrInUse = errors.New("chunk directory in use")

// DiskConfig says where a node's disk is.
type DiskConfig struct {
	ChunkDir string // what is in it is described in the package comment
	StateDir string // remembers which disk is this node's
	// NewDisk lets a disk that is not the remembered one take its place. An empty one gets a
	// marker, and with it a new node id. One with a marker keeps its own. Nothing is ever removed.
	NewDisk bool
	Random  io.Reader // for ids
	Fstab   string    // tells which disks should be mounted; empty: /etc/fstab
	// OpenDir opens and locks the chunk directory; nil: the real one. What it
	// returns is closed with the Disk if it is an io.Closer.
	OpenDir func(path string) (FS, error)
}

// Disk is a chunk directory that belongs to this node, locked until Close.
type Disk struct {
	FS FS
	ID raid.DiskID

	stateDir string
	random   io.Reader

	mu    sync.Mutex
	node  raid.NodeID
	array raid.ArrayID
}

// OpenDisk opens a node's chunk directory. At the first start ever it marks it,
// and makes it if need be. It fails with ErrDisk when
//
//   - its marker is another one than StateDir remembers,
//   - there are chunks in it, and no marker,
//   - the file system folds case or can't fsync a directory,
//   - a sandbox keeps this process from writing there,
//
// with ErrInUse while another process uses it, and with ErrNotMounted, since its
// disk may come yet, when
//
//   - fstab has a disk for it that is not mounted,
//   - it is the one that StateDir remembers, and it is missing, or has neither
//     marker nor chunks (an empty mount point, an empty replacement),
//   - it is to be made, and the directory that it is to be in does not exist, or
//     takes nothing from this process.
//
// Nothing is ever made in the place of a disk.
func OpenDisk(cfg DiskConfig) (*Disk, error) {
	o := diskOpener{DiskConfig: cfg}
	d, err := o.open()
	if err != nil {
		return nil, fmt.Errorf("open disk %s: %w", cfg.ChunkDir, inWords(o.at, err))
	}
	return d, nil
}

type diskOpener struct {
	DiskConfig
	at    string // the directory at work
	state *Dir
	fs    FS
}

func (o *diskOpener) open() (disk *Disk, err error) {
	o.at = o.StateDir
	if err := makeDir(o.StateDir); err != nil {
		return nil, err
	}
	if o.state, err = openRoot(o.StateDir); err != nil {
		return nil, err
	}
	defer o.state.Close()
	remembered, known, err := readState(o.state)
	if err != nil {
		return nil, err
	}
	o.at = o.ChunkDir
	if err := o.refuseUnmounted(); err != nil {
		return nil, err
	}
	if !known || o.NewDisk {
		if err := o.makeChunkDir(); err != nil {
			return nil, err
		}
	}
	if err := o.refuseSame(); err != nil {
		return nil, err
	}
	if o.fs, err = o.openDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeFS(o.fs)
		}
	}()
	m, err := o.marker(remembered, known)
	if err != nil {
		return nil, err
	}
	if err := checkFileSystem(o.fs); err != nil {
		return nil, err
	}
	if err := o.refuseSandbox(); err != nil {
		return nil, err
	}
	if m, err = o.settle(m, remembered); err != nil {
		return nil, err
	}
	if err := restoreKept(o.fs, m.Array, m.Node); err != nil {
		return nil, err
	}
	return &Disk{FS: o.fs, ID: m.Disk, stateDir: o.StateDir, random: o.Random, node: m.Node, array: m.Array}, nil
}

// makeChunkDir makes the chunk directory, but not those above it. One of these that is missing may
// be the mount point of a disk, and the card is no place for its chunks.
func (o *diskOpener) makeChunkDir() error {
	parent := filepath.Dir(o.ChunkDir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it is to be made in %s, which does not exist. If a disk belongs there, mount it; else run: sudo mkdir -p %s (%s)",
			ErrNotMounted, parent, shellWord(parent), howTo)
	}
	err := os.Mkdir(o.ChunkDir, dirMode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: it does not exist, and raid-node may not make it in %s (%w). If a disk belongs there, mount it; "+
			"else run: sudo install -d -o raid-node -g raid-node -m 750 %s (%s)", ErrNotMounted, parent, err, shellWord(o.ChunkDir), howTo)
	case err != nil:
		return fmt.Errorf("make directory %s: %w", o.ChunkDir, err)
	}
	return nil
}

// refuseSandbox fails if the disk takes writes and this process may not write to
// it. A disk that is read only for all can still be read from; the store finds
// out by itself.
func (o *diskOpener) refuseSandbox() error {
	const probe = tmpDir + "/probe"
	f, err := o.fs.OpenFile(probe, os.O_WRONLY|os.O_CREATE, fileMode)
	if err == nil {
		f.Close()
		err = o.fs.Remove(probe)
	}
	if sandbox, _ := readOnlyFor(o.ChunkDir); errors.Is(err, syscall.EROFS) && sandbox || errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// refuseSame fails if both directories are one: both have a raid-node.json.
func (o *diskOpener) refuseSame() error {
	a, errA := os.Stat(o.StateDir)
	b, errB := os.Stat(o.ChunkDir)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return fmt.Errorf("%w: it is the state directory too; use another one, for instance %s",
			ErrDisk, filepath.Join(o.StateDir, "chunks"))
	}
	return nil
}

func (o *diskOpener) openDir() (FS, error) {
	open := o.OpenDir
	if open == nil {
		open = func(path string) (FS, error) {
			d, err := OpenDir(path)
			if err != nil {
				return nil, err
			}
			return d, nil
		}
	}
	fsys, err := open(o.ChunkDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it does not exist, and this node's chunks were there; nothing was made in its place. Mount its disk%s", ErrNotMounted, orNewDisk)
	}
	return fsys, err
}

// marker reads the marker and compares it with what is remembered. One without
// a node is to be made anew.
func (o *diskOpener) marker(remembered remembered, known bool) (m marker, err error) {
	m, err = readMarker(o.fs)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		if o.NewDisk && errors.Is(err, ErrDisk) && !errors.Is(err, raid.ErrUnsupported) {
			return marker{}, nil // it says nothing that could be lost
		}
		return m, err
	case o.NewDisk:
		return m, nil
	case missing:
		if err := o.refuseOrphans(); err != nil || !known {
			return m, err
		}
		return m, fmt.Errorf("%w: it has no %s, and this node (%s) remembers disk %s. If the disk is not mounted (see: findmnt), mount it%s",
			ErrNotMounted, markerFile, remembered.Node, remembered.Disk, orNewDisk)
	case known && m.Disk != remembered.Disk: // with another node id it is still this disk: see Disk.NewNode
		return m, fmt.Errorf("%w: it is disk %s of node %s, and this node (%s) remembers disk %s; mount its disk%s",
			ErrDisk, m.Disk, m.Node, remembered.Node, remembered.Disk, orNewDisk)
	}
	return m, nil
}

// orNewDisk is by hand what a service would do again at each start. While the service
// runs, it competes for the disk.
const orNewDisk = ", or, to start with this one: sudo systemctl stop raid-node; sudo -u raid-node raid-node --new-disk (end it with Ctrl-C when it is ready; " +
	"settings in /etc/default/raid-node do not hold there); sudo systemctl start raid-node; " + howTo

// refuseOrphans fails if there are chunks.
func (o *diskOpener) refuseOrphans() error {
	return eachName(o.fs, ".", func(name string) error {
		if isFanout(name) {
			return fmt.Errorf("%w: there are chunks in it (%s/) and no %s that says whose; put that file back%s",
				ErrDisk, name, markerFile, orNewDisk)
		}
		return nil
	})
}

// settle makes marker and state agree. The marker comes first: a state that
// remembers a disk without one would be refused at the next start.
func (o *diskOpener) settle(m marker, old remembered) (marker, error) {
	if m.Node == "" {
		node, err := raid.NewID(o.Random)
		if err != nil {
			return m, err
		}
		disk, err := raid.NewID(o.Random)
		if err != nil {
			return m, err
		}
		m = marker{Node: raid.NodeID(node), Disk: raid.DiskID(disk)}
		if err := writeMarker(o.fs, m); err != nil {
			return m, err
		}
	}
	now := remembered{Node: m.Node, Disk: m.Disk}
	if now == old {
		return m, nil
	}
	// Once it is remembered, nobody looks again whether the directory itself lasts.
	if err := errors.Join(syncAbove(o.ChunkDir), syncAbove(o.StateDir)); err != nil {
		return m, err
	}
	o.at = o.StateDir
	return m, writeJSON(o.state, markerFile, now)
}

// checkFileSystem refuses file systems that chunks would not be safe on.
func checkFileSystem(fsys FS) error {
	if err := fsys.Mkdir(tmpDir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory %s: %w", tmpDir, err)
	}
	switch _, err := fileSize(fsys, strings.ToUpper(tmpDir)); {
	case err == nil:
		return fmt.Errorf("%w: its file system takes %q and %q for the same name, and chunk names differ in case, as on FAT; use ext4, "+howTo,
			ErrDisk, tmpDir, strings.ToUpper(tmpDir))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err := syncDir(fsys, ".")
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("%w: its file system can't make a directory durable (%w); use ext4, "+howTo, ErrDisk, err)
	}
	return err
}
