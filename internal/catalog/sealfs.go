package catalog

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// sealFS is a file system for SQLite over another one of its own. It seals the pages
// that are written to a database, and has SQLite take a page whose seal does not fit
// for corrupt. Of a log it checks each page that is read against its frame's checksum,
// which SQLite itself does at a start alone. All else goes through as it is.
type sealFS struct {
	name     string
	original *sqlite3.Tsqlite3_vfs
	open     func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	calls    ioCalls

	mu     sync.RWMutex
	files  map[uintptr]*sealedFile // by SQLite's handle
	tables map[uintptr]methods     // by SQLite's table of methods
}

type (
	readCall  = func(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32
	writeCall = func(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32
	syncCall  = func(tls *libc.TLS, file uintptr, flags int32) int32
	closeCall = func(tls *libc.TLS, file uintptr) int32
)

// ioCalls are the methods that sealFS has in place of the original's.
type ioCalls struct {
	read  readCall
	write writeCall
	sync  syncCall
	close closeCall
}

// methods is a table of SQLite's methods, and the one that is in its place.
type methods struct {
	under ioCalls
	ours  uintptr
}

// sealedFile is an open database or log.
type sealedFile struct {
	under  ioCalls
	isLog  bool
	sealed atomic.Bool // a database with room for seals
	watch  *watch      // nil: nobody wants to know
	log    logFile
}

// sealing are the file systems that are registered, by the name of the one below. They
// stay: SQLite has no way to tell when nobody uses one any more.
var sealing = struct {
	sync.Mutex
	over map[string]*sealFS
}{over: map[string]*sealFS{}}

// sealedOver returns SQLite's name of the sealing file system over another one; "" is
// SQLite's own.
func sealedOver(base string) (string, error) {
	sealing.Lock()
	defer sealing.Unlock()
	if f := sealing.over[base]; f != nil {
		return f.name, nil
	}
	f, err := newSealFS(base)
	if err != nil {
		return "", err
	}
	sealing.over[base] = f
	return f.name, nil
}

func newSealFS(base string) (*sealFS, error) {
	f := &sealFS{name: "sealed" + base, files: map[uintptr]*sealedFile{}, tables: map[uintptr]methods{}}
	f.open = f.onOpen
	f.calls = ioCalls{read: f.onRead, write: f.onWrite, sync: f.onSync, close: f.onClose}
	tls := libc.NewTLS()
	defer tls.Close()
	below := uintptr(0)
	if base != "" {
		var err error
		if below, err = libc.CString(base); err != nil {
			return nil, err
		}
		defer libc.Xfree(tls, below)
	}
	found := sqlite3.Xsqlite3_vfs_find(tls, below)
	if found == 0 {
		return nil, fmt.Errorf("SQLite knows no file system %q", base)
	}
	f.original = copyIn[sqlite3.Tsqlite3_vfs](found)
	name, err := libc.CString(f.name)
	if err != nil {
		return nil, err
	}
	ours := *f.original
	ours.FzName, ours.FpNext, ours.FxOpen = name, 0, pointerTo(&f.open)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, copyOut(&ours), 0); rc != 0 {
		return nil, fmt.Errorf("SQLite takes no file system: code %d", rc)
	}
	return f, nil
}

func (f *sealFS) onOpen(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	rc := callable[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](f.original.FxOpen)(tls, vfs, path, file, flags, outFlags)
	handle := copyIn[sqlite3.Tsqlite3_file](file)
	if rc != 0 || handle.FpMethods == 0 || path == 0 || flags&(sqlite3.SQLITE_OPEN_MAIN_DB|sqlite3.SQLITE_OPEN_WAL) == 0 {
		return rc
	}
	name := libc.GoString(path)
	s := &sealedFile{isLog: flags&sqlite3.SQLITE_OPEN_WAL != 0}
	s.log.reset()
	s.watch = watchOf(strings.TrimSuffix(name, "-wal"))
	s.sealed.Store(s.watch != nil && s.watch.sealed)
	f.mu.Lock()
	defer f.mu.Unlock()
	table, known := f.tables[handle.FpMethods]
	if !known {
		table = f.replace(handle.FpMethods)
		f.tables[handle.FpMethods] = table
	}
	s.under = table.under
	f.files[file] = s
	handle.FpMethods = table.ours
	overwrite(file, handle)
	return 0
}

// replace makes a table of methods of another one.
func (f *sealFS) replace(original uintptr) methods {
	table := copyIn[sqlite3.Tsqlite3_io_methods](original)
	m := methods{under: ioCalls{
		read: callable[readCall](table.FxRead), write: callable[writeCall](table.FxWrite),
		sync: callable[syncCall](table.FxSync), close: callable[closeCall](table.FxClose),
	}}
	table.FxRead, table.FxWrite = pointerTo(&f.calls.read), pointerTo(&f.calls.write)
	table.FxSync, table.FxClose = pointerTo(&f.calls.sync), pointerTo(&f.calls.close)
	m.ours = copyOut(table)
	return m
}

// sealReads tells how often a file was read by all file systems together, and whether
// one was since the last call.
func sealReads() func() (int64, bool) {
	last := readsOfAll.Load()
	return func() (int64, bool) {
		now := readsOfAll.Load()
		news := now != last
		last = now
		return 0, news
	}
}

var readsOfAll atomic.Int64

func (f *sealFS) file(handle uintptr) *sealedFile {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.files[handle]
}

func (f *sealFS) onClose(tls *libc.TLS, file uintptr) int32 {
	s := f.file(file)
	f.mu.Lock()
	delete(f.files, file)
	f.mu.Unlock()
	return s.under.close(tls, file)
}

func (f *sealFS) onSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	s := f.file(file)
	rc := s.under.sync(tls, file, flags)
	if rc == 0 && s.isLog {
		s.log.reset()
	}
	return rc
}

// watch is who wants to know what is found in a database.
type watch struct {
	file   os.FileInfo // which database
	sealed bool        // all its pages must be sealed, whatever its header says
	found  func(number uint32, v verdictOfPage)
	rotten func(frame int64) // of the log
}

var watches = struct {
	sync.RWMutex
	all map[*watch]struct{}
}{all: map[*watch]struct{}{}}

// watching has w told of the database at path, which is there, until end is called.
func watching(path string, w *watch) (end func(), err error) {
	if w.file, err = os.Stat(path); err != nil {
		return nil, err
	}
	watches.Lock()
	defer watches.Unlock()
	watches.all[w] = struct{}{}
	return func() {
		watches.Lock()
		defer watches.Unlock()
		delete(watches.all, w)
	}, nil
}

func watchOf(path string) *watch {
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	watches.RLock()
	defer watches.RUnlock()
	for w := range watches.all {
		if os.SameFile(w.file, st) {
			return w
		}
	}
	return nil
}
