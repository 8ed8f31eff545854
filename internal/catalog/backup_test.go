package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// A step that rewrites much, so that there is time to be killed in.
func slowVersion() []migration {
	return append(migrations(), migration{"9999_test.sql", `
		CREATE TABLE test (x INTEGER PRIMARY KEY, y BLOB) STRICT;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO test SELECT i, zeroblob(5000) FROM n;`})
}

func childMigrates(path string) int {
	c, err := open(bg, config(path), options{migrations: slowVersion(), checkpoint: checkpointPages})
	if err != nil {
		fmt.Println("open:", err)
		return 2
	}
	_ = c.Close()
	return 0
}

// bigCatalog is a closed catalog of some hundred pages.
func bigCatalog(t *testing.T) (path string, files map[raid.FileID]raid.File) {
	t.Helper()
	big.Do(func() {
		made := filepath.Join(t.TempDir(), "catalog.db")
		c := openTest(t, made)
		files := map[raid.FileID]raid.File{}
		for _, f := range storeMany(t, c, 800) {
			files[f.ID] = f
		}
		must(t, c.Close())
		if _, err := os.Stat(made + "-wal"); !os.IsNotExist(err) {
			t.Fatalf("a closed catalog has a log: %v", err)
		}
		content, err := os.ReadFile(made)
		must(t, err)
		big.content, big.files = content, files
	})
	if big.content == nil {
		t.Fatal("there is no big catalog: see the test that was to make it")
	}
	path = filepath.Join(t.TempDir(), "catalog.db")
	must(t, os.WriteFile(path, big.content, 0o600))
	return path, maps.Clone(big.files)
}

// big is what bigCatalog copies: making it takes a while.
var big struct {
	sync.Once
	content []byte
	files   map[raid.FileID]raid.File
}

// Promise 1, at an upgrade: wherever it is killed, all files are there for the new
// version, and for the old one as long as the schema has not changed, or else in
// the copy.
func TestUpgradeThatIsKilledLosesNothing(t *testing.T) {
	path, files := bigCatalog(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	kept := fmt.Sprintf("%s.v%d", path, len(migrations()))
	size := func(name string) int64 {
		st, err := os.Stat(name)
		if err != nil {
			return -1
		}
		return st.Size()
	}
	for moment, reached := range map[string]func() bool{
		"the copy begins":      func() bool { return size(kept+".part") == 0 },
		"the copy grows":       func() bool { return size(kept+".part") > int64(len(whole))/2 },
		"the copy is there":    func() bool { return size(kept) > 0 },
		"the schema changes":   func() bool { return size(kept) > 0 && size(path+"-wal") > 1<<20 },
		"it is nearly through": func() bool { return size(kept) > 0 && size(path+"-wal") > 12<<20 },
	} {
		if underRace && moment != "the copy grows" && moment != "the schema changes" {
			continue
		}
		t.Run(moment, func(t *testing.T) {
			for _, left := range []string{path + "-wal", path + "-shm", kept, kept + ".part"} {
				_ = os.Remove(left)
			}
			must(t, os.WriteFile(path, whole, 0o600))
			cmd, lines := spawn(t, "migrate", path)
			for !reached() && !closedNow(lines) {
				time.Sleep(100 * time.Microsecond)
			}
			_ = cmd.Process.Kill() // it may have ended
			for range lines {
			}
			if size(kept) > 0 {
				copied := filepath.Join(t.TempDir(), "catalog.db")
				b, err := os.ReadFile(kept)
				must(t, err)
				must(t, os.WriteFile(copied, b, 0o600))
				checkWholeFiles(t, openTest(t, copied), files)
			}
			c, err := Open(bg, config(path)) // the old version
			if err == nil {
				checkWholeFiles(t, c, files)
				must(t, c.Close())
			} else if wants(t, err, ErrRefused); size(kept) <= 0 {
				t.Errorf("no copy: %v", err)
			}
			c = openWith(t, config(path), options{migrations: slowVersion()})
			checkWholeFiles(t, c, files)
			if n := sqlInt(t, c, "SELECT count(*) FROM test"); n != 3000 {
				t.Errorf("%d of 3000 rows", n)
			}
			must(t, c.Close())
			if size(kept+".part") >= 0 {
				t.Error("what was begun of a copy is left")
			}
		})
	}
}

// closedNow reports whether a child has ended, without waiting.
func closedNow(lines <-chan string) bool {
	select {
	case _, open := <-lines:
		return !open
	default:
		return false
	}
}

// childMigratesWithoutRoom upgrades a catalog on a disk that has no room for the
// copy, then on one where others take the room meanwhile.
func childMigratesWithoutRoom(from string) int {
	whole, err := os.ReadFile(from)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	disk := filepath.Join(filepath.Dir(from), "disk")
	if err == nil {
		err = errors.Join(os.Mkdir(disk, 0o700), unix.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", 2*len(whole)+floor-1<<20)))
	}
	path := filepath.Join(disk, "catalog.db")
	if err == nil {
		err = os.WriteFile(path, whole, 0o600)
	}
	if err != nil {
		fmt.Println("error:", err)
		return 2
	}
	_, err = open(bg, config(path), options{migrations: nextVersion(), checkpoint: checkpointPages})
	after, _ := os.ReadFile(path)
	entries, _ := filepath.Glob(path + ".v*")
	fmt.Println("refused:", errors.Is(err, raid.ErrNoSpace), errors.Is(err, ErrRefused), bytes.Equal(after, whole), len(entries), err)
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", 2*len(whole)+floor+8<<20)); err != nil {
		fmt.Println("error:", err)
		return 2
	}
	c, err := open(bg, config(path), options{migrations: nextVersion(), checkpoint: checkpointPages})
	if err == nil {
		err = c.Close()
	}
	entries, _ = filepath.Glob(path + ".v*")
	fmt.Println("with room:", len(entries), err)
	return 0
}

// What an upgrade that was cut off has begun takes no room for ever, also when
// the old version is installed again.
func TestWhatWasBegunOfACopyIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, os.WriteFile(path+".v4.part", []byte("half"), 0o600))
	openTest(t, path)
	if exists(path + ".v4.part") {
		t.Error("it is still there")
	}
}

func TestTwoCopiesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, openTest(t, path).Close())
	must(t, os.WriteFile(path+".v1", []byte("old"), 0o600))
	must(t, os.WriteFile(path+".v2", []byte("old"), 0o600))
	must(t, os.WriteFile(path+".v2.mine", []byte("a person's"), 0o600))
	must(t, os.Mkdir(path+".v3", 0o700))
	steps := migrations()
	for range 3 {
		must(t, openWith(t, config(path), options{migrations: steps}).Close())
		steps = append(steps, migration{"9999_test.sql", "SELECT 1;"})
	}
	n := len(migrations())
	for _, want := range []string{fmt.Sprintf(".v%d", n), fmt.Sprintf(".v%d", n+1), ".v2.mine", ".v3"} {
		if _, err := os.Stat(path + want); err != nil {
			t.Errorf("of %v: %v", namesBeside(t, path), err)
		}
	}
	for _, gone := range []string{".v1", ".v2"} {
		if exists(path + gone) {
			t.Errorf("catalog.db%s is still there", gone)
		}
	}
}

// namesBeside are the names beside a catalog that begin with its own.
func namesBeside(t *testing.T, path string) map[string]bool {
	t.Helper()
	found, err := filepath.Glob(path + "*")
	must(t, err)
	names := map[string]bool{}
	for _, f := range found {
		names[filepath.Base(f)] = true
	}
	return names
}

// moves are what Progress was told.
type moves struct {
	mu   sync.Mutex
	said map[string]int
	last int64
}

func (m *moves) tell(step string, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said == nil {
		m.said = map[string]int{}
	}
	m.said[step]++
	m.last = done
	if total > 0 && done > total+1<<20 {
		m.said["more than all"]++
	}
}

func TestLongUpgradeTellsHowItGetsOn(t *testing.T) {
	path, _ := bigCatalog(t)
	var m moves
	cfg := config(path)
	cfg.Progress = m.tell
	c := openWith(t, cfg, options{migrations: slowVersion()})
	told := len(m.said)
	must(t, c.Close())
	for _, step := range []string{"copying the catalog before its schema changes", fmt.Sprintf("bringing the catalog to version %d", len(migrations())+1)} {
		if m.said[step] < 1 {
			t.Errorf("%q was told %d times of %v", step, m.said[step], m.said)
		}
	}
	if m.said["more than all"] > 0 || told != len(m.said) {
		t.Errorf("told %v", m.said)
	}
}

// A service manager must not be told that a step gets on which hangs.
func TestStepThatHangsIsNotToldOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	var m moves
	p := progress{tell: m.tell, every: time.Millisecond}
	told := func() int { m.mu.Lock(); defer m.mu.Unlock(); return m.said["a copy"] + m.said["a step"] }
	for step, look := range map[string]func() (int64, bool){"a copy": (&growth{file: f}).look, "a step": touched(path, path+"-wal")} {
		must(t, p.during(step, 0, look, func() error {
			before := told()
			_, err := f.Write([]byte("something"))
			for told() == before && err == nil {
				yield()
			}
			once := told()
			time.Sleep(50 * time.Millisecond) // many looks
			if told() != once {
				t.Errorf("%s: told %d times of one move", step, told()-before)
			}
			return err
		}))
	}
	after := told()
	must(t, os.WriteFile(path, bytes.Repeat([]byte("more"), 100), 0o600))
	time.Sleep(20 * time.Millisecond)
	if told() != after {
		t.Error("it is told after the step has ended")
	}
}

// The log is moved into pages that the database has already.
func TestWhatIsWrittenInPlaceIsToldOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, []byte("before"), 0o600))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	var m moves
	p := progress{tell: m.tell, every: time.Millisecond}
	must(t, p.during("a step", 0, touched(path), func() error {
		for told := 0; told < 3; {
			if _, err := f.WriteAt([]byte("after"), 0); err != nil {
				return err
			}
			yield()
			m.mu.Lock()
			told = m.said["a step"]
			m.mu.Unlock()
		}
		return nil
	}))
}

// SIGTERM while an upgrade is under way.
func TestUpgradeThatIsStoppedChangesNothing(t *testing.T) {
	path, files := bigCatalog(t)
	ctx, cancel := context.WithCancel(bg)
	cfg := config(path)
	cfg.Progress = func(step string, _, _ int64) { cancel() }
	_, err := open(ctx, cfg, options{migrations: slowVersion(), checkpoint: checkpointPages, look: time.Millisecond})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("it ends with %v", err)
	}
	if left := namesBeside(t, path); left[fmt.Sprintf("catalog.db.v%d.part", len(migrations()))] {
		t.Errorf("left: %v", left)
	}
	checkWholeFiles(t, openTest(t, path), files)
}

// lossy is a file whose first flush fails. As on Linux, the flushes after it say
// nothing of the bytes that are lost.
type lossy struct {
	*os.File
	once   sync.Once
	failed chan struct{}
}

func (l *lossy) Sync() (err error) {
	l.once.Do(func() { err = unix.EIO; close(l.failed) })
	return err
}

// A look at the copy that grows must not swallow why it is not on disk.
func TestCopyWhoseFlushFailedIsNone(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	l := &lossy{File: f, failed: make(chan struct{})}
	var m moves
	err = progress{tell: m.tell, every: time.Millisecond}.filling("a copy", 0, l, func() error {
		_, err := f.Write([]byte("something"))
		<-l.failed
		return err
	})
	if !errors.Is(err, unix.EIO) || len(m.said) > 0 {
		t.Errorf("got %v, told %v", err, m.said)
	}
}

// After a power cut the schema could be the new one, and the copy's name gone.
func TestNameOfTheCopyIsDurableBeforeTheSchemaChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, openTest(t, path).Close())
	target := fmt.Sprintf("%s.v%d", path, len(migrations()))
	real := fsync
	defer func() { fsync = real }()
	flushed := false
	fsync = func(f *os.File) error {
		if _, err := os.Stat(target); f.Name() == filepath.Dir(path) && err == nil {
			flushed = true
			return unix.EIO
		}
		return real(f)
	}
	next := options{migrations: append(migrations(), migration{"next", "CREATE TABLE next (a INTEGER);"}), checkpoint: checkpointPages, look: lookEvery}
	for range 2 { // the second finds the copy of the first
		flushed = false
		if _, err := open(bg, config(path), next); !flushed || !errors.Is(err, unix.EIO) {
			t.Fatalf("flushed: %v; it ends with %v", flushed, err)
		}
	}
	fsync = real
	must(t, openTest(t, path).Close()) // the schema is the old one
}
