package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// faultFS is SQLite's own file system with a seam where it flushes: it can fail
// there, and it keeps what each file held when it was last flushed, which is all
// that a power cut is sure to leave.
type faultFS struct {
	name string
	fail atomic.Pointer[string] // flushing a file whose path ends so fails
	dies atomic.Int64           // above 0: all writes and flushes fail but for so many less one
	deaf atomic.Int64           // the same of reads

	mu       sync.Mutex
	names    map[uintptr]string // by SQLite's file handle
	flushed  map[string][]byte  // by path
	deleted  []string           // still there after a power cut
	original *sqlite3.Tsqlite3_vfs
	methods  map[uintptr]uintptr // SQLite's table of methods: ours in its place
	sync     func(*libc.TLS, uintptr, int32) int32
	open     func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	delete   func(*libc.TLS, uintptr, uintptr, int32) int32
	under    func(*libc.TLS, uintptr, int32) int32
	write    func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	writes   func(*libc.TLS, uintptr, uintptr, int32, int64) int32 // SQLite's
	read     func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	reads    func(*libc.TLS, uintptr, uintptr, int32, int64) int32 // SQLite's
}

var faultNumber atomic.Int64

// newFaultFS registers a file system with SQLite until the test ends. Test
// cleanup runs last in, first out: catalogs opened after it are closed before.
func newFaultFS(t *testing.T) *faultFS {
	f := &faultFS{
		name:  fmt.Sprintf("fault%d", faultNumber.Add(1)),
		names: map[uintptr]string{}, flushed: map[string][]byte{}, methods: map[uintptr]uintptr{},
	}
	f.sync, f.open, f.delete, f.write, f.read = f.onSync, f.onOpen, f.onDelete, f.onWrite, f.onRead
	tls := libc.NewTLS()
	t.Cleanup(tls.Close)
	f.original = copyIn[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	ours := *f.original
	name, err := libc.CString(f.name)
	must(t, err)
	ours.FzName, ours.FpNext, ours.FxOpen, ours.FxDelete = name, 0, pointerTo(&f.open), pointerTo(&f.delete)
	vfs := copyOut(&ours)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, vfs, 0); rc != 0 {
		t.Fatalf("register: %d", rc)
	}
	t.Cleanup(func() {
		sqlite3.Xsqlite3_vfs_unregister(tls, vfs)
		runtime.KeepAlive(f) // SQLite's memory, which refers to it, is not Go's
	})
	return f
}

func (f *faultFS) onOpen(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	open := callable[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](f.original.FxOpen)
	rc := open(tls, vfs, path, file, flags, outFlags)
	handle := copyIn[sqlite3.Tsqlite3_file](file)
	if rc != 0 || handle.FpMethods == 0 || path == 0 {
		return rc
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[file] = libc.GoString(path)
	if f.methods[handle.FpMethods] == 0 {
		table := copyIn[sqlite3.Tsqlite3_io_methods](handle.FpMethods)
		f.under = callable[func(*libc.TLS, uintptr, int32) int32](table.FxSync)
		table.FxSync = pointerTo(&f.sync)
		f.writes = callable[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](table.FxWrite)
		table.FxWrite = pointerTo(&f.write)
		f.reads = callable[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](table.FxRead)
		table.FxRead = pointerTo(&f.read)
		f.methods[handle.FpMethods] = copyOut(table)
	}
	handle.FpMethods = f.methods[handle.FpMethods]
	overwrite(file, handle)
	return 0
}

func (f *faultFS) onWrite(tls *libc.TLS, file, bytes uintptr, n int32, at int64) int32 {
	if f.isDead() {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	f.mu.Lock()
	write := f.writes
	f.mu.Unlock()
	return write(tls, file, bytes, n, at)
}

func (f *faultFS) onRead(tls *libc.TLS, file, bytes uintptr, n int32, at int64) int32 {
	if isOver(&f.deaf) {
		return sqlite3.SQLITE_IOERR_READ
	}
	f.mu.Lock()
	read := f.reads
	f.mu.Unlock()
	return read(tls, file, bytes, n, at)
}

// readsFailAfter has so many more reads of the disk pass, and none after these. Less than
// 0: all do.
func (f *faultFS) readsFailAfter(n int64) { f.deaf.Store(n + 1) }

// diesAfter has the disk do so many more writes and flushes, and none after these. Less
// than 0: it is well again.
func (f *faultFS) diesAfter(n int64) { f.dies.Store(n + 1) }

func (f *faultFS) isDead() bool { return isOver(&f.dies) }

// isOver counts down to 1, at which nothing is left; 0 is without end.
func isOver(count *atomic.Int64) bool {
	for {
		left := count.Load()
		if left <= 1 {
			return left == 1
		}
		if count.CompareAndSwap(left, left-1) {
			return false
		}
	}
}

func (f *faultFS) onSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := f.names[file]
	if f.isDead() {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	if end := f.fail.Load(); end != nil && strings.HasSuffix(path, *end) {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	rc := f.under(tls, file, flags)
	// SQLite flushes the folder of a journal or log that it made with the first
	// flush of the file (UNIXFILE_DIRSYNC).
	if _, known := f.flushed[path]; rc == 0 && !known {
		f.forgetDeleted()
	}
	if b, err := os.ReadFile(path); rc == 0 && err == nil {
		f.flushed[path] = b
	}
	return rc
}

// onDelete notes that a file will be gone when its folder is flushed next.
func (f *faultFS) onDelete(tls *libc.TLS, vfs, path uintptr, syncDir int32) int32 {
	rc := callable[func(*libc.TLS, uintptr, uintptr, int32) int32](f.original.FxDelete)(tls, vfs, path, syncDir)
	f.mu.Lock()
	defer f.mu.Unlock()
	if rc == 0 {
		f.deleted = append(f.deleted, libc.GoString(path))
	}
	if rc == 0 && syncDir != 0 {
		f.forgetDeleted()
	}
	return rc
}

func (f *faultFS) forgetDeleted() {
	for _, path := range f.deleted {
		delete(f.flushed, path)
	}
	f.deleted = nil
}

// failAt makes every flush of files with that ending fail from now on.
func (f *faultFS) failAt(end string) { f.fail.Store(&end) }

// powerCut writes what is sure to be on disk now into a folder of its own and
// returns the database there.
func (f *faultFS) powerCut(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, b := range f.flushed {
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(p)), b, 0o600))
	}
	return filepath.Join(dir, filepath.Base(path))
}
