package sim

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// catalogDisk is the disk under one controller's SQLite files. It knows what of them
// is durable, can lose its power at any write, and can fail or be full.
type catalogDisk struct {
	dir   string
	onCut func() // called once, when the power goes; it must not wait

	mu     sync.Mutex
	files  map[string]*catalogFile // by path
	writes int                     // writes, truncations and flushes so far
	cutAt  int                     // the one before which the power goes; 0: none
	off    bool
	fail   bool // flushes fail
	full   bool
}

// catalogFile is a file, with its durable bytes and with those that came since.
type catalogFile struct {
	durable []byte
	synced  bool
	pending []change
}

// change is a write at an offset, or the file's new length.
type change struct {
	at    int64
	bytes []byte // nil: the file is truncated to at
}

func (c change) apply(b []byte) []byte {
	if c.bytes == nil {
		if c.at <= int64(len(b)) {
			return b[:c.at]
		}
		return append(b, make([]byte, c.at-int64(len(b)))...)
	}
	if end := c.at + int64(len(c.bytes)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.at:], c.bytes)
	return b
}

// begin reports whether a change may go on: a code of SQLite's, 0 for yes. It must be
// called with mu held.
func (d *catalogDisk) begin(flush bool) int32 {
	d.writes++
	if d.writes == d.cutAt && !d.off {
		d.off = true
		d.onCut()
	}
	switch {
	case d.off:
		return sqlite3.SQLITE_IOERR
	case d.fail && flush:
		return sqlite3.SQLITE_IOERR_FSYNC
	case d.full && !flush:
		return sqlite3.SQLITE_FULL
	}
	return sqlite3.SQLITE_OK
}

// cut cuts the power.
func (d *catalogDisk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.off = true
		d.onCut()
	}
}

// cutIn has the power cut before the n-th change from now.
func (d *catalogDisk) cutIn(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.writes + n
}

// set has the disk fail at flushes, or be full, or neither.
func (d *catalogDisk) set(fail, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.full = fail, full
}

// loss decides what a crash takes of what was not flushed.
type loss int

const (
	killed  loss = iota // the process alone ended: nothing
	lostAll             // all of it
	lostSome
)

// recover leaves the files as they are found after a crash, and switches the power on.
// Nobody may have them open.
func (d *catalogDisk) recover(l loss, rng *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errOf(os.Remove(filepath.Join(d.dir, "catalog.db-shm"))); err != nil {
		return err
	}
	paths := make([]string, 0, len(d.files))
	for p := range d.files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		f := d.files[p]
		if !f.synced && l != killed {
			if filepath.Ext(p) == ".db" { // its folder was flushed with it
				f.durable = nil
			} else {
				if err := errOf(os.Remove(p)); err != nil {
					return err
				}
				delete(d.files, p)
				continue
			}
		}
		for _, c := range f.pending {
			if l == killed || l == lostSome && rng.IntN(2) == 0 {
				f.durable = c.apply(f.durable)
			}
		}
		f.pending, f.synced = nil, true
		if err := os.WriteFile(p, f.durable, 0o600); err != nil {
			return err
		}
	}
	d.off, d.cutAt, d.fail, d.full = false, 0, false, false
	return nil
}

func errOf(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// vfs is SQLite's file system in this process: its own one, with each file's disk
// asked before it changes.
type vfs struct {
	original *sqlite3.Tsqlite3_vfs
	openCall func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	delCall  func(*libc.TLS, uintptr, uintptr, int32) int32
	calls    ioCalls

	mu     sync.RWMutex
	disks  map[string]*catalogDisk // by folder
	open   map[uintptr]*openFile   // by SQLite's handle
	tables map[uintptr]table       // by SQLite's table of methods
}

type (
	writeCall    = func(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32
	truncateCall = func(tls *libc.TLS, file uintptr, size int64) int32
	syncCall     = func(tls *libc.TLS, file uintptr, flags int32) int32
	closeCall    = func(tls *libc.TLS, file uintptr) int32
)

type ioCalls struct {
	write    writeCall
	truncate truncateCall
	sync     syncCall
	close    closeCall
}

type table struct {
	under ioCalls
	ours  uintptr
}

type openFile struct {
	disk  *catalogDisk
	path  string
	under ioCalls
}

// newVFS makes it what SQLite uses unless told otherwise.
func newVFS() *vfs {
	v := &vfs{disks: map[string]*catalogDisk{}, open: map[uintptr]*openFile{}, tables: map[uintptr]table{}}
	v.openCall, v.delCall = v.onOpen, v.onDelete
	v.calls = ioCalls{v.onWrite, v.onTruncate, v.onSync, v.onClose}
	tls := libc.NewTLS()
	defer tls.Close()
	v.original = copyIn[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	ours := *v.original
	name, err := libc.CString("simulated")
	if err != nil {
		panic(err)
	}
	ours.FzName, ours.FpNext, ours.FxOpen, ours.FxDelete = name, 0, pointerTo(&v.openCall), pointerTo(&v.delCall)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, copyOut(&ours), 1); rc != 0 {
		panic(rc)
	}
	return v
}

// add makes a disk of a folder.
func (v *vfs) add(dir string, onCut func()) *catalogDisk {
	d := &catalogDisk{dir: dir, onCut: onCut, files: map[string]*catalogFile{}}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.disks[dir] = d
	return d
}

func (v *vfs) remove(d *catalogDisk) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.disks, d.dir)
}

func (v *vfs) onOpen(tls *libc.TLS, self, path, file uintptr, flags int32, outFlags uintptr) int32 {
	rc := callable[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](v.original.FxOpen)(tls, self, path, file, flags, outFlags)
	handle := copyIn[sqlite3.Tsqlite3_file](file)
	if rc != 0 || handle.FpMethods == 0 || path == 0 {
		return rc
	}
	name := strings.Clone(libc.GoString(path))
	v.mu.Lock()
	defer v.mu.Unlock()
	disk := v.disks[filepath.Dir(name)]
	if disk == nil {
		return rc
	}
	t, known := v.tables[handle.FpMethods]
	if !known {
		methods := copyIn[sqlite3.Tsqlite3_io_methods](handle.FpMethods)
		t.under = ioCalls{callable[writeCall](methods.FxWrite), callable[truncateCall](methods.FxTruncate), callable[syncCall](methods.FxSync), callable[closeCall](methods.FxClose)}
		methods.FxWrite, methods.FxTruncate = pointerTo(&v.calls.write), pointerTo(&v.calls.truncate)
		methods.FxSync, methods.FxClose = pointerTo(&v.calls.sync), pointerTo(&v.calls.close)
		t.ours = copyOut(methods)
		v.tables[handle.FpMethods] = t
	}
	v.open[file] = &openFile{disk, name, t.under}
	disk.mu.Lock()
	if disk.files[name] == nil {
		disk.files[name] = &catalogFile{}
	}
	disk.mu.Unlock()
	handle.FpMethods = t.ours
	overwrite(file, handle)
	return rc
}

func (v *vfs) file(handle uintptr) *openFile {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.open[handle]
}

// did takes note of a change that the real file has seen.
func (f *openFile) did(c change) {
	file := f.disk.files[f.path]
	if file == nil {
		file = &catalogFile{}
		f.disk.files[f.path] = file
	}
	file.pending = append(file.pending, c)
}

func (v *vfs) onWrite(tls *libc.TLS, handle, buf uintptr, n int32, at int64) int32 {
	f := v.file(handle)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if rc := f.disk.begin(false); rc != 0 {
		return rc
	}
	rc := f.under.write(tls, handle, buf, n, at)
	if rc == 0 {
		f.did(change{at, bytes.Clone(libc.GoBytes(buf, int(n)))})
	}
	return rc
}

func (v *vfs) onTruncate(tls *libc.TLS, handle uintptr, size int64) int32 {
	f := v.file(handle)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if rc := f.disk.begin(false); rc != 0 {
		return rc
	}
	rc := f.under.truncate(tls, handle, size)
	if rc == 0 {
		f.did(change{at: size})
	}
	return rc
}

// onSync flushes nothing in truth: the machine that runs this does not lose its power.
func (v *vfs) onSync(_ *libc.TLS, handle uintptr, _ int32) int32 {
	f := v.file(handle)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if rc := f.disk.begin(true); rc != 0 {
		return rc
	}
	if file := f.disk.files[f.path]; file != nil {
		for _, c := range file.pending {
			file.durable = c.apply(file.durable)
		}
		file.pending, file.synced = nil, true
	}
	return 0
}

func (v *vfs) onClose(tls *libc.TLS, handle uintptr) int32 {
	f := v.file(handle)
	v.mu.Lock()
	delete(v.open, handle)
	v.mu.Unlock()
	return f.under.close(tls, handle)
}

func (v *vfs) onDelete(tls *libc.TLS, self, path uintptr, syncDir int32) int32 {
	name := strings.Clone(libc.GoString(path))
	v.mu.RLock()
	disk := v.disks[filepath.Dir(name)]
	v.mu.RUnlock()
	if disk != nil {
		disk.mu.Lock()
		defer disk.mu.Unlock()
		if rc := disk.begin(false); rc != 0 {
			return rc
		}
		delete(disk.files, name)
	}
	return callable[func(*libc.TLS, uintptr, uintptr, int32) int32](v.original.FxDelete)(tls, self, path, syncDir)
}

// SQLite lives in memory that is not Go's, and its function pointers are Go functions.
// These are the ways across.

func copyIn[T any](from uintptr) *T {
	b := libc.GoBytes(from, int(unsafe.Sizeof(*new(T)))) // not a copy yet
	return (*T)(unsafe.Pointer(unsafe.SliceData(bytes.Clone(b))))
}

// copyOut takes memory that is never given back.
func copyOut[T any](from *T) uintptr {
	to, err := libc.CString(unsafe.String((*byte)(unsafe.Pointer(from)), unsafe.Sizeof(*from)))
	if err != nil {
		panic(err) // out of memory
	}
	return to
}

func overwrite[T any](to uintptr, from *T) {
	copy(libc.GoBytes(to, int(unsafe.Sizeof(*from))), unsafe.Slice((*byte)(unsafe.Pointer(from)), unsafe.Sizeof(*from)))
}

func pointerTo[F any](f *F) uintptr { return *(*uintptr)(unsafe.Pointer(f)) }

func callable[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }
