package catalog

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// cut is a catalog whose process was killed, with a log of several transactions.
type cut struct {
	dir   string
	files map[raid.FileID]raid.File // in the log, in the order of their ids
	log   []byte
	ends  []int // frames that end a transaction, from 0
}

func newCut(t *testing.T) *cut {
	t.Helper()
	k := &cut{dir: t.TempDir(), files: map[raid.FileID]raid.File{}}
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, openTest(t, path).Close())
	c := openTest(t, path)
	for range 8 {
		f := store(t, c, 1)
		k.files[f.ID] = f
	}
	must(t, os.CopyFS(k.dir, os.DirFS(filepath.Dir(path))))
	must(t, c.Close())
	var err error
	k.log, err = os.ReadFile(k.path() + "-wal")
	must(t, err)
	for n := 0; logHeader+(n+1)*frameSize <= len(k.log); n++ {
		if binary.BigEndian.Uint32(k.frame(n)[4:]) != 0 {
			k.ends = append(k.ends, n)
		}
	}
	if len(k.ends) < 8 {
		t.Fatalf("%d transactions are in the log", len(k.ends))
	}
	return k
}

func (k *cut) path() string { return filepath.Join(k.dir, "catalog.db") }

func (k *cut) frame(n int) []byte { return k.log[logHeader+n*frameSize : logHeader+(n+1)*frameSize] }

// with is the same with another log, and what the catalog in its folder makes of it.
func (k *cut) with(t *testing.T, log []byte) *Catalog {
	t.Helper()
	dir := t.TempDir()
	must(t, os.RemoveAll(dir))
	must(t, os.CopyFS(dir, os.DirFS(k.dir)))
	path := filepath.Join(dir, "catalog.db")
	must(t, os.Remove(path+"-shm")) // as after a power cut
	must(t, os.Chmod(path+".lock", 0o600))
	must(t, os.WriteFile(path+"-wal", log, 0o600))
	return openTest(t, path)
}

// SQLite drops what is behind a bad frame without a word.
func TestADamagedLogIsNoticedAsTheRollbackThatItIs(t *testing.T) {
	k := newCut(t)
	mid := k.ends[3]
	at := func(frame, byte int) int { return logHeader + frame*frameSize + byte }
	for name, place := range map[string][2]int{
		"a page":                      {at(mid+1, 700), 1},
		"a page that ends a commit":   {at(mid, 3000), 1},
		"a frame's page number":       {at(mid+1, 3), 1},
		"the end of a transaction":    {at(mid, 7), 1},
		"a frame's salt":              {at(mid+1, 9), 1},
		"a frame's checksum":          {at(mid+1, 17), 1},
		"a checksum that ends one":    {at(mid, 20), 1},
		"the first frame":             {at(0, 100), 1},
		"a sector":                    {at(mid+1, 512), 512},
		"several frames":              {at(mid, 0), 3 * frameSize},
		"the header's salt":           {17, 1},
		"the header's magic":          {1, 1},
		"the header's checksum":       {28, 1},
		"the header's size of a page": {9, 1},
		"the first sector":            {0, 512},
		"a salt of the last one":      {at(k.ends[len(k.ends)-1], 10), 1},
	} {
		t.Run(name, func(t *testing.T) {
			log := []byte(string(k.log))
			for i := range place[1] {
				if log[place[0]+i] ^= 0x40; place[1] > 512 {
					log[place[0]+i] = 0
				}
			}
			c := k.with(t, log)
			lost := 0
			for id := range k.files {
				if _, err := c.File(bg, id); err != nil {
					lost++
				}
			}
			wants(t, c.Damaged(), raid.ErrCatalogBehind)
			wants(t, c.Vouched(), raid.ErrCatalogBehind)
			if !strings.Contains(c.Damaged().Error(), "log is damaged at") || lost == 0 && name != "a salt of the last one" {
				t.Errorf("%d files lost: %v", lost, c.Damaged())
			}
			// It stays so, and the log is kept.
			path := c.path
			must(t, c.Close())
			kept, err := os.ReadFile(path + "-wal.damaged1")
			must(t, err)
			if string(kept) != string(log) {
				t.Error("the log that is kept is another one")
			}
			c = openTest(t, path)
			wants(t, c.Damaged(), raid.ErrCatalogBehind)
			// Until a person gives up what is lost.
			var commit uint64
			_, words, _ := strings.Cut(c.Damaged().Error(), "--give-up-commit ")
			_, err = fmt.Sscan(words, &commit)
			must(t, err)
			must(t, c.ForgetCommits(bg, commit))
			must(t, c.Close())
			c = openTest(t, path)
			must(t, c.Damaged())
			must(t, awaitVouched(t, c))
			store(t, c, 1)
		})
	}
}

// Somebody removed it, or put the catalog alone back.
func TestAMissingLogIsNoticed(t *testing.T) {
	k := newCut(t)
	for name, log := range map[string][]byte{"empty": nil, "zeros": make([]byte, len(k.log)), "cut in its first transaction": k.log[:logHeader+frameSize]} {
		t.Run(name, func(t *testing.T) {
			c := k.with(t, log)
			wants(t, c.Damaged(), raid.ErrCatalogBehind)
			if _, err := c.File(bg, 1); err == nil {
				t.Error("the file is there")
			}
		})
	}
}

// What the lock's file remembers may rot as well.
func TestARottenMemoryOfThePastStopsNoArray(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, openTest(t, path).Close())
	good, err := os.ReadFile(path + ".lock")
	must(t, err)
	for i := range strings.Index(string(good), "end") + 12 {
		for _, bit := range []byte{1, 4} {
			rotten := []byte(string(good))
			rotten[i] ^= bit
			must(t, os.WriteFile(path+".lock", rotten, 0o600))
			lock, err := os.Open(path + ".lock")
			must(t, err)
			if p := readPast(lock); p != (past{}) {
				t.Errorf("byte %d: it says %+v", i, p)
			}
			must(t, lock.Close())
		}
	}
	c := openTest(t, path)
	must(t, c.Damaged())
	must(t, c.Close())
}

// A start that goes no further keeps the same log once.
func TestADamagedLogIsKeptOnce(t *testing.T) {
	k := newCut(t)
	for range 3 {
		kept, err := keepLog(k.path())
		must(t, err)
		if kept != k.path()+"-wal.damaged1" {
			t.Errorf("kept as %s", kept)
		}
	}
	must(t, os.WriteFile(k.path()+"-wal", k.log[1:], 0o600))
	kept, err := keepLog(k.path())
	must(t, err)
	if kept != k.path()+"-wal.damaged2" {
		t.Errorf("another one is kept as %s", kept)
	}
}

// Of what was not flushed yet, a power cut may leave any part; before it was written, the
// log may have held others.
func TestATornTailIsNoDamage(t *testing.T) {
	k := newCut(t)
	last := k.ends[len(k.ends)-2] + 1 // the first frame of the last transaction
	rng := rand.New(rand.NewPCG(1, 2))
	garbage := func(b []byte) {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	}
	for name, tear := range map[string]func(log []byte) []byte{
		"cut at a frame":           func(log []byte) []byte { return log[:logHeader+last*frameSize] },
		"cut in a header":          func(log []byte) []byte { return log[:logHeader+last*frameSize+10] },
		"cut in a page":            func(log []byte) []byte { return log[:logHeader+last*frameSize+2000] },
		"cut before the last":      func(log []byte) []byte { return log[:len(log)-frameSize] },
		"garbage in all of it":     func(log []byte) []byte { garbage(log[logHeader+last*frameSize:]); return log },
		"zeros in all of it":       func(log []byte) []byte { clear(log[logHeader+last*frameSize:]); return log },
		"its first page is lost":   func(log []byte) []byte { clear(log[logHeader+last*frameSize:][:frameSize]); return log },
		"a sector of it is lost":   func(log []byte) []byte { clear(log[logHeader+last*frameSize+600:][:512]); return log },
		"garbage behind all":       func(log []byte) []byte { b := make([]byte, 3*frameSize+5); garbage(b); return append(log, b...) },
		"older frames behind":      func(log []byte) []byte { return append(log, olderFrames(log, 1)...) },
		"older frames of a commit": func(log []byte) []byte { return append(log[:logHeader+last*frameSize], olderFrames(log, last)...) },
		"older salts of it": func(log []byte) []byte { // a frame's head lay on two sectors
			salts := log[logHeader+last*frameSize+8:][:8]
			salts[3]--
			garbage(salts[4:])
			return log
		},
		"nothing at all": func(log []byte) []byte { return log },
	} {
		t.Run(name, func(t *testing.T) {
			c := k.with(t, tear([]byte(string(k.log))))
			must(t, c.Damaged())
			lost := 0
			for id := range k.files {
				if _, err := c.File(bg, id); err != nil {
					lost++
				}
			}
			if lost > 1 {
				t.Errorf("%d files of whole transactions are lost", lost)
			}
			must(t, awaitVouched(t, c))
			store(t, c, 1)
		})
	}
}

// olderFrames are what another time of the log left, from a frame on.
func olderFrames(log []byte, from int) []byte {
	b := []byte(string(log[logHeader+from*frameSize:]))
	sum := logSum{s0: 1, s1: 2}
	for n := 0; n < len(b); n += frameSize {
		b[n+11]--
		sum.add(b[n : n+8])
		sum.add(b[n+frameHeader : n+frameSize])
		binary.BigEndian.PutUint32(b[n+16:], sum.s0)
		binary.BigEndian.PutUint32(b[n+20:], sum.s1)
	}
	return b
}

// A log that is begun anew gets a new header; the frames behind it are in the database.
func TestATornHeaderOfALogThatWasMovedIsNoDamage(t *testing.T) {
	k := newCut(t)
	log := []byte(string(k.log))
	copy(log, "garbage garbage garbage garbage ")
	must(t, os.WriteFile(k.path()+"-wal", log, 0o600))
	if what, err := logDamage(k.path()); err != nil || what != "its header" {
		t.Errorf("of a log that was not moved: %q, %v", what, err)
	}
	must(t, os.WriteFile(k.path()+"-wal", k.log, 0o600))
	db, err := sql.Open("sqlite", k.path())
	must(t, err)
	_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	must(t, err)
	must(t, db.Close())
	must(t, os.WriteFile(k.path()+"-wal", log, 0o600))
	c := openTest(t, k.path())
	must(t, awaitVouched(t, c))
	for id := range k.files {
		_, err := c.File(bg, id)
		must(t, err)
	}
}

// SQLite would put the older pages before the bad frame over newer ones in the database,
// and one rotten byte of a log that nobody needs would cost files.
func TestALogThatIsInTheDatabaseAlreadyPutsNoOlderPagesOverNewerOnes(t *testing.T) {
	k := newCut(t)
	db, err := sql.Open("sqlite", k.path())
	must(t, err)
	_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	must(t, err)
	must(t, db.Close())
	moved, err := os.ReadFile(k.path())
	must(t, err)
	for name, frame := range map[string]int{
		"good":                    -1,
		"rot in the middle":       k.ends[3] + 1,
		"rot in the last one":     k.ends[len(k.ends)-1],
		"rot in all but one":      k.ends[0] + 1,
		"rot in the first of all": 0,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			log := []byte(string(k.log))
			must(t, os.WriteFile(path, moved, 0o600))
			if frame >= 0 {
				log[logHeader+frame*frameSize+2000] ^= 1
			}
			must(t, os.WriteFile(path+"-wal", log, 0o600))
			if frame > 0 {
				said := refused(t, path, raid.ErrCorrupt, "older pages")
				if !strings.Contains(said, "sudo mv "+path+"-wal "+path+"-wal.aside") {
					t.Errorf("what to do is missing: %s", said)
				}
				untouched(t, path, map[string][]byte{path: moved, path + "-wal": log})
				must(t, os.Rename(path+"-wal", path+"-wal.aside"))
			}
			c := openTest(t, path)
			for id := range k.files {
				_, err := c.File(bg, id)
				must(t, err)
			}
			if frame != 0 { // of which no transaction is left to tell from
				must(t, awaitVouched(t, c))
			}
		})
	}
}

// Real processes are killed at any moment: what they leave is never damaged.
func TestWhatKilledProcessesLeaveIsNeverTakenForDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	files := map[raid.FileID]raid.File{}
	for _, most := range []int{5, 30, 700, 60, 900, 800} { // the log is moved after some 400
		cmd, lines := spawn(t, "upload", path)
		n := 0
		for line := range lines {
			if strings.HasPrefix(line, "error") {
				t.Fatal(line)
			}
			if n++; n > most {
				break
			}
		}
		must(t, cmd.Process.Kill())
		for range lines {
		}
		_ = cmd.Wait()
		what, err := logDamage(path)
		must(t, err)
		if what != "" {
			t.Fatalf("damage at %s", what)
		}
		c := openTest(t, path)
		must(t, c.Damaged())
		must(t, awaitVouched(t, c))
		f := store(t, c, 1)
		files[f.ID] = f
		for id, want := range maps.All(files) {
			got, err := c.File(bg, id)
			must(t, err)
			if got.Upload != want.Upload {
				t.Errorf("file %d is another one", id)
			}
		}
		must(t, c.Close())
	}
}

// While it runs, too: SQLite believes the log until the next start.
func TestAPageOfTheLogIsCheckedWhenItIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	f := store(t, c, 1)
	log, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	must(t, err)
	defer log.Close()
	st, err := log.Stat()
	must(t, err)
	for at := int64(logHeader); at < st.Size(); at += frameSize {
		_, err := log.WriteAt([]byte{0x55, 0x55, 0x55}, at+3000)
		must(t, err)
	}
	for deadline := time.Now().Add(time.Minute); c.Damaged() == nil && time.Now().Before(deadline); {
		_, _ = c.File(bg, f.ID)
		_, _ = c.Parts(bg, f.ID, 0, 1)
	}
	wants(t, c.Damaged(), raid.ErrCatalogDamaged)
}

// Who puts a database back and leaves the log of the one before beside it would get what
// is neither of them.
func TestTheLogOfAnotherCatalogIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	storeMany(t, c, 20)
	must(t, c.Close())
	backup, err := os.ReadFile(path)
	must(t, err)
	for range 2 { // later starts
		c = openTest(t, path)
		storeMany(t, c, 20)
		must(t, c.Close())
	}
	c = openTest(t, path)
	store(t, c, 1)
	log, err := os.ReadFile(path + "-wal") // of a killed process
	must(t, err)
	now, err := os.ReadFile(path)
	must(t, err)
	must(t, c.Close())
	other := newCut(t)

	for name, k := range map[string]struct {
		db, log []byte
		fits    bool
	}{
		"its own":          {now, log, true},
		"a later one":      {backup, log, false},
		"another array's":  {now, other.log, false},
		"an earlier one's": {backup, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			must(t, os.WriteFile(path, k.db, 0o600))
			must(t, os.WriteFile(path+"-wal", k.log, 0o600))
			if k.fits {
				must(t, awaitVouched(t, openTest(t, path)))
				return
			}
			said := refused(t, path, raid.ErrInvalid, "belongs to another catalog")
			wants(t, Rebuild(bg, config(path)), raid.ErrInvalid)
			if !strings.Contains(said, "sudo mv "+path+"-wal "+path+"-wal.aside") {
				t.Errorf("what to do is missing: %s", said)
			}
			untouched(t, path, map[string][]byte{path: k.db, path + "-wal": k.log})
			must(t, os.Rename(path+"-wal", path+"-wal.aside"))
			must(t, awaitVouched(t, openTest(t, path)))
		})
	}
}
