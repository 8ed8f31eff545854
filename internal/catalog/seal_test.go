package catalog

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/raidpi/raidpi/internal/raid"
)

// awaitVouched waits until everything was checked, or there is damage.
func awaitVouched(t *testing.T, c *Catalog) error {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		err := c.Vouched()
		if err == nil || c.health.damaged.Load() != nil {
			return err
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is never checked: %v", err)
		}
	}
}

// pagesOf are the numbers of the pages of a table or index that hold rows.
func pagesOf(t *testing.T, path, name string) (numbers []int64) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&immutable=1")
	must(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT pageno FROM dbstat WHERE name = ? AND pagetype <> 'internal'", name)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		must(t, rows.Scan(&n))
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		t.Fatalf("%s has no page", name)
	}
	return numbers
}

// flip changes one byte of a page, at that distance from its end.
func flip(t *testing.T, path string, page, fromEnd int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b, at := []byte{0}, page*pageSize-fromEnd
	_, err = f.ReadAt(b, at)
	must(t, err)
	b[0] ^= 0x15
	_, err = f.WriteAt(b, at)
	must(t, err)
}

// A lookup in a rotten index finds nothing, and what the catalog does not know is
// removed from the nodes.
func TestARottenPageIsNoticedAndNothingIsRemovedOnItsWord(t *testing.T) {
	for _, name := range []string{"sqlite_autoindex_upload_1", "upload", "chunk", "part", "removal"} {
		t.Run(name, func(t *testing.T) {
			path, files := bigCatalog(t)
			if name == "removal" {
				c := openTest(t, path)
				for id := range files {
					must(t, c.Delete(bg, id))
				}
				sweepAll(t, c, 1000)
				must(t, c.Close())
			}
			pages := pagesOf(t, path, name)
			flip(t, path, pages[len(pages)/2], 500)
			c := openTest(t, path)
			if c.Vouched() == nil {
				t.Error("it is vouched for before it was checked")
			}
			var ids []raid.UploadID
			for _, f := range files {
				ids = append(ids, f.Upload)
			}
			unknown, err := c.UnknownUploads(bg, ids)
			if name != "removal" && err == nil && len(unknown) > 0 {
				t.Errorf("%d uploads are unknown", len(unknown))
			}
			wants(t, awaitVouched(t, c), raid.ErrCatalogDamaged)
			wants(t, c.Damaged(), raid.ErrCatalogDamaged)
			for id := range files {
				wants(t, c.Delete(bg, id), raid.ErrCatalogDamaged)
				break
			}
			wants(t, c.Begin(bg, raid.File{ID: 1 << 40}), raid.ErrCatalogDamaged)
			newToken(t, c, "still possible", 0)
			must(t, c.Close())
		})
	}
}

func TestGoodPagesOfADamagedCatalogAreStillRead(t *testing.T) {
	path, files := bigCatalog(t)
	pages := pagesOf(t, path, "upload")
	flip(t, path, pages[len(pages)/2], 500)
	c := openTest(t, path)
	wants(t, awaitVouched(t, c), raid.ErrCatalogDamaged)
	good := 0
	for id, want := range files {
		f, err := c.File(bg, id)
		if err != nil {
			wants(t, err, raid.ErrCatalogDamaged)
			continue
		}
		if f.Upload != want.Upload {
			t.Errorf("file %d is another one", id)
		}
		good++
	}
	if good < len(files)/2 || good == len(files) {
		t.Errorf("%d of %d files can be read", good, len(files))
	}
	select {
	case <-c.Broken():
		t.Error("the process has to end")
	default:
	}
}

// What a card does: sectors of zeros, of something else, and a page in another's place.
func TestSectorsThatWereLostAreNoticed(t *testing.T) {
	for name, harm := range map[string]func(page, other []byte){
		"zeros at the end":   func(page, _ []byte) { clear(page[pageSize-512:]) },
		"zeros":              func(page, _ []byte) { clear(page) },
		"zeros at the front": func(page, _ []byte) { clear(page[:512]) },
		"another page":       func(page, other []byte) { copy(page, other) },
		"no seal":            func(page, _ []byte) { copy(page[sealAt:], "12345678") },
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := bigCatalog(t)
			pages := pagesOf(t, path, "sqlite_autoindex_upload_1")
			b, err := os.ReadFile(path)
			must(t, err)
			at := func(n int64) []byte { return b[(n-1)*pageSize : n*pageSize] }
			harm(at(pages[1]), at(pages[2]))
			must(t, os.WriteFile(path, b, 0o600))
			wants(t, awaitVouched(t, openTest(t, path)), raid.ErrCatalogDamaged)
		})
	}
}

// Bytes that were wrong in memory are sealed as they are.
func TestAnIndexThatDoesNotFitItsTableIsNoticedBehindGoodSeals(t *testing.T) {
	for _, name := range []string{"sqlite_autoindex_upload_1", "upload"} {
		t.Run(name, func(t *testing.T) {
			path, files := bigCatalog(t)
			for _, f := range files {
				renameIn(t, path, name, f.Upload)
				break
			}
			wants(t, awaitVouched(t, openTest(t, path)), raid.ErrCatalogDamaged)
		})
	}
}

// renameIn changes an upload id in a table or index, with good seals.
func renameIn(t *testing.T, path, name string, upload raid.UploadID) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	id, other := []byte(upload.String()), []byte(upload.String())
	other[raid.IDLen-1] ^= 1
	for _, n := range pagesOf(t, path, name) { // also where the page has it no more
		page := b[(n-1)*pageSize : n*pageSize]
		copy(page, bytes.ReplaceAll(page, id, other))
		sealPage(page, uint32(n))
	}
	must(t, os.WriteFile(path, b, 0o600))
}

// A healthy catalog is vouched for after all that is done to one, and its idle checks
// write nothing.
func TestAHealthyCatalogIsVouchedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	useEverything(t, c)
	must(t, awaitVouched(t, c))
	must(t, c.Close())
	c = openWith(t, config(path), options{slow: time.Millisecond, rest: time.Millisecond})
	must(t, awaitVouched(t, c))
	store(t, c, 3)
	before := stamps(t, filepath.Dir(path))
	time.Sleep(100 * time.Millisecond) // passes meanwhile
	for name, now := range stamps(t, filepath.Dir(path)) {
		if before[name] != now {
			t.Errorf("%s was written", name)
		}
	}
	must(t, c.Vouched())
}

// Rot of a page that comes while the controller runs.
func TestRotIsFoundWhileItRuns(t *testing.T) {
	path, _ := bigCatalog(t)
	c := openWith(t, config(path), options{slow: time.Millisecond, rest: time.Millisecond})
	must(t, awaitVouched(t, c))
	pages := pagesOf(t, path, "chunk")
	flip(t, path, pages[len(pages)-1], 100)
	for deadline := time.Now().Add(time.Minute); c.Damaged() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not found")
		}
	}
}

// Debian's sqlite3 reads it, copies it, and may even write to it: what it leaves has no
// seals, and is believed once it was checked.
func TestWhatAnotherSQLiteWroteIsCheckedAndSealed(t *testing.T) {
	for name, change := range map[string]string{
		"vacuumed":  "VACUUM INTO ?1",
		"backed up": "", // as the command .backup does it
	} {
		t.Run(name, func(t *testing.T) {
			path, files := bigCatalog(t)
			copied := filepath.Join(t.TempDir(), "catalog.db")
			var c *Catalog
			if change == "" {
				c = openTest(t, path)
				f := store(t, c, 1) // in the log
				files[f.ID] = f
			}
			copyWithSQLite(t, path, copied, change)
			if c != nil {
				must(t, c.Close())
			}
			c = openTest(t, copied)
			checkWholeFiles(t, c, files)
			must(t, awaitVouched(t, c))
			store(t, c, 1)
			must(t, c.Close())
			checkSeals(t, copied)
		})
	}
}

// copyWithSQLite copies a database as other programs do, with a statement or page by page.
func copyWithSQLite(t *testing.T, path, to, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	if statement != "" {
		_, err = db.Exec(statement, to)
		must(t, err)
		return
	}
	conn, err := db.Conn(bg)
	must(t, err)
	defer conn.Close()
	must(t, conn.Raw(func(raw any) error {
		b, err := raw.(interface {
			NewBackup(string) (*sqlite.Backup, error)
		}).NewBackup(to)
		if err != nil {
			return err
		}
		if _, err := b.Step(-1); err != nil {
			return err
		}
		return b.Finish()
	}))
}

// checkSeals looks at all pages of a closed catalog.
func checkSeals(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	for n := 0; n < len(b)/pageSize; n++ {
		if v := judgePage(b[n*pageSize:(n+1)*pageSize], uint32(n+1)); v != pageGood && v != pageZero {
			t.Errorf("page %d: verdict %d", n+1, v)
		}
	}
}

func TestEachPageOfACatalogIsSealedAfterEachStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	for start := range 3 {
		c := openWith(t, config(path), options{checkpoint: 5})
		if start == 0 {
			useEverything(t, c)
		}
		storeMany(t, c, 100)
		must(t, c.Close())
		checkSeals(t, path)
	}
	b, err := os.ReadFile(path)
	must(t, err)
	if !isSealed(b) || binary.BigEndian.Uint32(b[60:]) != uint32(len(migrations())) {
		t.Error("the header does not say so")
	}
}

// unsealed is a catalog as versions before seals left it.
func unsealed(t *testing.T) (path string, f raid.File) {
	t.Helper()
	sealedPath, files := bigCatalog(t)
	path = filepath.Join(t.TempDir(), "catalog.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, m := range migrations()[:sealVersion-1] {
		_, err := db.Exec(m.sql)
		must(t, err)
	}
	_, err = db.Exec("ATTACH ? AS s", sealedPath)
	must(t, err)
	for _, table := range []string{"meta", "epoch", "node", "upload", "part", "chunk"} {
		var columns string // later versions have more
		must(t, db.QueryRow("SELECT group_concat(name) FROM pragma_table_info(?, 'main')", table).Scan(&columns))
		_, err := db.Exec("INSERT INTO " + table + " (" + columns + ") SELECT " + columns + " FROM s." + table)
		must(t, err)
	}
	_, err = db.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; PRAGMA journal_mode = WAL;", applicationID, sealVersion-1))
	must(t, err)
	for _, f = range files {
		break
	}
	return path, f
}

// sealVersion is the version of the schema from which on pages have seals.
var sealVersion = 1 + slices.IndexFunc(migrations(), func(m migration) bool { return strings.HasSuffix(m.name, "_seal.sql") })

func TestACatalogOfAnEarlierVersionGetsSeals(t *testing.T) {
	path, f := unsealed(t)
	before, err := os.ReadFile(path)
	must(t, err)
	c := openTest(t, path)
	got, err := c.File(bg, f.ID)
	must(t, err)
	if got.Upload != f.Upload {
		t.Error("it is another file")
	}
	must(t, awaitVouched(t, c))
	must(t, c.Close())
	checkSeals(t, path)
	kept, err := os.ReadFile(fmt.Sprintf("%s.v%d", path, sealVersion-1))
	must(t, err)
	if string(kept) != string(before) {
		t.Error("what it was is not beside it")
	}
	must(t, openTest(t, path).Close())
}

func TestACatalogGetsSealsWhereThereAreNoHardLinks(t *testing.T) {
	path, f := unsealed(t)
	hardLink = func(string, string) error { return unix.EPERM }
	defer func() { hardLink = os.Link }()
	c := openTest(t, path)
	_, err := c.File(bg, f.ID)
	must(t, err)
	must(t, awaitVouched(t, c))
	if !exists(fmt.Sprintf("%s.v%d", path, sealVersion-1)) {
		t.Error("what it was is not beside it")
	}
}

// A power cut at any moment leaves the old catalog or the new one in its place.
func TestGettingSealsSurvivesKills(t *testing.T) {
	made, f := unsealed(t)
	old, err := os.ReadFile(made)
	must(t, err)
	dir := t.TempDir()
	path := filepath.Join(dir, "catalog.db")
	ends := map[bool]int{}
	rounds, step := 10, 8*time.Millisecond
	if underRace {
		rounds, step = 4, 20*time.Millisecond
	}
	if strconv.IntSize == 32 { // in an emulator, mostly, where each takes ten times as long
		rounds, step = 2, 100*time.Millisecond
	}
	for round := range rounds {
		must(t, os.RemoveAll(dir))
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(path, old, 0o600))
		cmd, lines := spawn(t, "migrate", path)
		time.Sleep(5*time.Millisecond + time.Duration(round)*step)
		_ = cmd.Process.Kill() // it may have ended
		for range lines {
		}
		b, err := os.ReadFile(path)
		must(t, err)
		ends[isSealed(b)]++
		c := openWith(t, config(path), options{migrations: slowVersion()})
		got, err := c.File(bg, f.ID)
		must(t, err)
		if got.Upload != f.Upload {
			t.Error("it is another file")
		}
		must(t, awaitVouched(t, c))
		must(t, c.Close())
		checkSeals(t, path)
		left, err := filepath.Glob(path + "*.part")
		must(t, err)
		if len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	t.Logf("killed before the new one was in its place %d times, after %d", ends[false], ends[true])
}

// It must not be sealed as it is.
func TestADamagedCatalogOfAnEarlierVersionIsRefused(t *testing.T) {
	path, _ := unsealed(t)
	b, err := os.ReadFile(path)
	must(t, err)
	pages := pagesOf(t, path, "sqlite_autoindex_upload_1")
	clear(b[pages[1]*pageSize-200 : pages[1]*pageSize])
	must(t, os.WriteFile(path, b, 0o600))
	refused(t, path, raid.ErrCorrupt, "damaged")
	if now, err := os.ReadFile(path); err != nil || string(now) != string(b) {
		t.Error("it was changed")
	}
}

// An index that nobody compares with its table is believed, whatever it says.
func TestEachIndexIsComparedWithItsTable(t *testing.T) {
	c := openTest(t, "")
	whole := map[string]string{ // why there is no walk
		"sqlite_autoindex_node_1": "all nodes are read at each start, and looked up in memory",
		"idempotency_by_age":      "it says what is too old to be kept; a key is looked up in the table",
	}
	must(t, idleWriter(t, c).query(func(r []driver.Value) error {
		name := text(r[0])
		both := 0
		for _, w := range walks {
			both += strings.Count(w.sql, "INDEXED BY "+name)
		}
		if both < 2 && whole[name] == "" {
			t.Errorf("the index %s is not compared with its table in both directions", name)
		}
		return nil
	}, `SELECT x.name FROM sqlite_schema x JOIN sqlite_schema t ON t.name = x.tbl_name AND t.type = 'table'
		WHERE x.type = 'index' AND NOT (x.sql IS NULL AND t.sql LIKE '%WITHOUT ROWID%')`))
}
