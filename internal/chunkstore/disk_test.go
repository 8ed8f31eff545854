package chunkstore_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
)

// zeros is a source of ids that are all the same.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// machine is a node's two directories.
type machine struct {
	t             *testing.T
	state, chunks string
}

func newMachine(t *testing.T) *machine {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &machine{t, filepath.Join(dir, "a", "state"), filepath.Join(dir, "b", "chunks")}
}

func (m *machine) try(newDisk bool) (*chunkstore.Disk, error) {
	return chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: m.chunks, StateDir: m.state, NewDisk: newDisk, Random: rand.Reader})
}

// start opens the disk and closes it again.
func (m *machine) start(newDisk bool) *chunkstore.Disk {
	m.t.Helper()
	d, err := m.try(newDisk)
	if err != nil {
		m.t.Fatal(err)
	}
	d.Close()
	return d
}

// refused checks that a start is refused with words that help, for a person to
// see to.
func (m *machine) refused(words ...string) {
	m.t.Helper()
	m.fails(chunkstore.ErrDisk, words...)
}

// absent checks that a start waits for the disk, with words that help.
func (m *machine) absent(words ...string) {
	m.t.Helper()
	m.fails(chunkstore.ErrNotMounted, words...)
}

func (m *machine) fails(why error, words ...string) {
	m.t.Helper()
	d, err := m.try(false)
	if err == nil {
		d.Close()
	}
	wantErr(m.t, err, why)
	if why != chunkstore.ErrDisk && errors.Is(err, chunkstore.ErrDisk) {
		m.t.Errorf("%v: a service manager would not try again", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			m.t.Errorf("error %q does not mention %q", err, w)
		}
	}
}

func TestNodeKeepsItsNameBetweenStarts(t *testing.T) {
	m := newMachine(t)
	first := m.start(false)
	if !raid.ValidName(string(first.Node())) || !raid.ValidName(string(first.ID)) || first.Array() != "" {
		t.Fatalf("first start: %+v", first)
	}
	if again := m.start(false); again.Node() != first.Node() || again.ID != first.ID {
		t.Fatalf("node %s came back as %s", first.Node(), again.Node())
	}
}

func TestDiskBelongsToOneArray(t *testing.T) {
	m := newMachine(t)
	d, err := m.try(false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Adopt(testArray); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, d.Adopt("another"), raid.ErrPrecondition)
	d.Close()
	if got := m.start(false).Array(); got != testArray {
		t.Fatalf("array %q after a restart", got)
	}
}

func TestMissingDiskIsRefused(t *testing.T) {
	m := newMachine(t)
	first := m.start(false)
	marker := filepath.Join(m.chunks, "raid-node.json")
	if err := os.Rename(marker, marker+".away"); err != nil {
		t.Fatal(err)
	}
	m.absent("systemctl stop raid-node; sudo -u raid-node raid-node --new-disk", "Ctrl-C", "systemctl start raid-node", "raid-node.json", string(first.ID), m.chunks)
	if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused directory was marked")
	}

	if err := os.Rename(m.chunks, m.chunks+".away"); err != nil {
		t.Fatal(err)
	}
	m.absent("raid-node --new-disk", "does not exist", "nothing was made in its place")
	if _, err := os.Stat(m.chunks); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a directory was made in its place")
	}

	second := m.start(true)
	if second.Node() == first.Node() || second.ID == first.ID {
		t.Fatal("the new disk took the old one's name")
	}
	if again := m.start(false); again.Node() != second.Node() {
		t.Fatal("the new disk is not remembered")
	}
}

func TestExchangedDiskIsRefused(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	first, theirs := m.start(false), other.start(false)
	if err := os.RemoveAll(m.chunks); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other.chunks, m.chunks); err != nil {
		t.Fatal(err)
	}
	m.refused("raid-node --new-disk", string(first.ID), string(theirs.ID))
	// With a person's word the disk is taken for what it says it is.
	if now := m.start(true); now.Node() != theirs.Node() || now.ID != theirs.ID {
		t.Fatalf("node %s with the disk of %s", now.Node(), theirs.Node())
	}
}

func TestNewDiskFlagLeavesTheRightDiskAlone(t *testing.T) {
	m := newMachine(t)
	first := m.start(false)
	if again := m.start(true); again.Node() != first.Node() || again.ID != first.ID {
		t.Fatal("--new-disk made a new node of the old disk")
	}
}

func TestDiskIsKnownWhenTheStateIsLost(t *testing.T) {
	m := newMachine(t)
	first := m.start(false)
	if err := os.RemoveAll(m.state); err != nil {
		t.Fatal(err)
	}
	if again := m.start(false); again.Node() != first.Node() {
		t.Fatal("the node forgot the name that is on its disk")
	}
}

func TestChunksWithoutMarkerAreRefused(t *testing.T) {
	m := newMachine(t)
	if err := os.MkdirAll(filepath.Join(m.chunks, "Ab"), 0o750); err != nil {
		t.Fatal(err)
	}
	m.refused("raid-node --new-disk", "Ab/")
	m.start(true)

	m = newMachine(t)
	m.start(false)
	if err := errors.Join(os.Remove(filepath.Join(m.chunks, "raid-node.json")), os.MkdirAll(filepath.Join(m.chunks, "Ab"), 0o750)); err != nil {
		t.Fatal(err)
	}
	m.refused("raid-node --new-disk", "Ab/") // also by a node that remembers a disk: this is no empty mount point
}

func TestUnreadableMarkerIsRefused(t *testing.T) {
	for _, text := range []string{"", "{", `{"format":1}`, `{"format":1,"node":"../..","disk":"x"}`, "\x00\x00\x00"} {
		m := newMachine(t)
		m.start(false)
		if err := os.WriteFile(filepath.Join(m.chunks, "raid-node.json"), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		m.refused("raid-node.json")
		m.start(true)
		m.start(false)
	}
}

func TestMarkerOfANewerVersionIsNeverReplaced(t *testing.T) {
	m := newMachine(t)
	m.start(false)
	if err := os.WriteFile(filepath.Join(m.chunks, "raid-node.json"), []byte(`{"format":9}`), 0o640); err != nil {
		t.Fatal(err)
	}
	m.refused("raid-node.json", "upgrade")
	_, err := m.try(true)
	wantErr(t, err, chunkstore.ErrDisk)
}

func TestUnreadableStateIsRefused(t *testing.T) {
	m := newMachine(t)
	m.start(false)
	if err := os.WriteFile(filepath.Join(m.state, "raid-node.json"), []byte("{"), 0o640); err != nil {
		t.Fatal(err)
	}
	m.refused("state directory")
}

func TestDiskInUseIsRefused(t *testing.T) {
	m := newMachine(t)
	d, err := m.try(false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	busy := func() {
		t.Helper()
		_, err := m.try(false)
		wantErr(t, err, chunkstore.ErrInUse)
		if errors.Is(err, chunkstore.ErrDisk) || !strings.Contains(err.Error(), "another raid-node") {
			t.Errorf("it says %q", err)
		}
	}
	busy()
	if err := d.Adopt(testArray); err != nil {
		t.Fatal(err)
	}
	busy() // the marker is a new file now
}

func TestStateAndChunksNeedDirectoriesOfTheirOwn(t *testing.T) {
	m := newMachine(t)
	m.chunks = m.state
	m.refused("chunks")
}

// foldingFS takes names that differ in case for the same.
type foldingFS struct{ chunkstore.FS }

func (f foldingFS) OpenFile(name string, flag int, perm fs.FileMode) (chunkstore.File, error) {
	return f.FS.OpenFile(strings.ToLower(name), flag, perm)
}

func TestFileSystemsThatLoseChunksAreRefused(t *testing.T) {
	for what, open := range map[string]func(string) (chunkstore.FS, error){
		"same name": func(path string) (chunkstore.FS, error) {
			d, err := chunkstore.OpenDir(path)
			return foldingFS{d}, err
		},
		"durable": func(path string) (chunkstore.FS, error) {
			f, err := faultfs.New(path)
			if err == nil {
				f.OnCall(failing(faultfs.SyncDir, "", syscall.EINVAL))
			}
			return f, err
		},
	} {
		chunks := t.TempDir()
		_, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: chunks, StateDir: t.TempDir(), Random: rand.Reader, OpenDir: open})
		wantErr(t, err, chunkstore.ErrDisk)
		if !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "ext4") {
			t.Errorf("error %q does not say %q and what to use", err, what)
		}
		if _, err := os.Stat(filepath.Join(chunks, "raid-node.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a refused directory was marked")
		}
	}
}

func TestNewNodeIDIsKeptAndLeavesTheRestAlone(t *testing.T) {
	m := newMachine(t)
	d, err := m.try(false)
	if err != nil {
		t.Fatal(err)
	}
	first := d.Node()
	if err := d.Adopt(testArray); err != nil {
		t.Fatal(err)
	}
	second, _, err := d.NewNode()
	if err != nil || second == first || second != d.Node() {
		t.Fatalf("node %s became %s, which is said to be %s: %v", first, d.Node(), second, err)
	}
	d.Close()
	if again := m.start(false); again.Node() != second || again.ID != d.ID || again.Array() != testArray {
		t.Errorf("node %s, disk %s of array %q came back as %s, %s of %q", second, d.ID, testArray, again.Node(), again.ID, again.Array())
	}
}

func TestDiskIsMovedToAnotherArrayWithoutTheOldCommitNumber(t *testing.T) {
	m := newMachine(t)
	d, err := m.try(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Adopt(testArray); err != nil {
		t.Fatal(err)
	}
	checkpoint := filepath.Join(m.chunks, "raid-node.commit")
	if err := os.WriteFile(checkpoint, []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	const other = "9000000000000000000000"
	for range 2 {
		if err := d.Reassign(other); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(checkpoint); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the commit number of the old array is still there: %v", err)
	}
	d.Close()
	if again := m.start(false); again.Array() != other || again.Node() != d.Node() {
		t.Errorf("array %q, node %s after a restart", again.Array(), again.Node())
	}
}

// A disk that is taken along to another array keeps its chunks, and has them back
// when it returns.
func TestChunksOfAnotherArrayAreKeptBesideAndComeBack(t *testing.T) {
	const other, kept = "9000000000000000000000", "kept-"
	m := newMachine(t)
	d, err := m.try(false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Adopt(testArray); err != nil {
		t.Fatal(err)
	}
	folder := func(array raid.ArrayID) string { return kept + string(array) + "-" + string(d.Node()) }
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(m.chunks, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	is := func(name, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(m.chunks, name))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
		}
	}
	move := func(to raid.ArrayID) {
		t.Helper()
		if err := d.Reassign(to); err != nil {
			t.Fatal(err)
		}
	}
	put("Ab/Abc", "first")
	put("lab/Ab/Abc", "lab")
	move(other)
	is("Ab/Abc", "")
	is(folder(testArray)+"/Ab/Abc", "first")
	is("lab/Ab/Abc", "lab")
	put("Ab/Abz", "second")
	move(testArray)
	is("Ab/Abc", "first")
	is("Ab/Abz", "")
	is(folder(other)+"/Ab/Abz", "second")
	put(folder(testArray)+"/Ab/Abq", "of an attempt that broke off")
	move(other)
	is(folder(testArray)+".2/Ab/Abc", "first")
	is(folder(testArray)+"/Ab/Abq", "of an attempt that broke off")
	is("Ab/Abz", "second")
	d.Close()
	if again := m.start(false); again.Array() != other {
		t.Errorf("array %s", again.Array())
	}
}

// failingFS fails to rename to or from names that have a word in them.
type failingFS struct {
	chunkstore.FS
	word *string
}

func (f failingFS) Rename(from, to string) error {
	if *f.word != "" && (strings.Contains(from, *f.word) || strings.Contains(to, *f.word)) {
		return syscall.EIO
	}
	return f.FS.Rename(from, to)
}

// A disk that is full, or fails for a moment, while its owner changes keeps its
// chunks where they are asked for.
func TestOwnerThatCouldNotChangeHasItsChunksInPlace(t *testing.T) {
	const other = "9000000000000000000000"
	m := newMachine(t)
	word := ""
	d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: m.chunks, StateDir: m.state, Random: rand.Reader,
		OpenDir: func(path string) (chunkstore.FS, error) {
			dir, err := chunkstore.OpenDir(path)
			return failingFS{dir, &word}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Adopt(testArray); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Ab/Abc", "Cd/Cde"} {
		path := filepath.Join(m.chunks, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(name), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	inPlace := func(what string, want bool) {
		t.Helper()
		for _, name := range []string{"Ab/Abc", "Cd/Cde"} {
			if _, err := os.Stat(filepath.Join(m.chunks, name)); (err == nil) != want {
				t.Errorf("%s: %s is in place %v", what, name, err == nil)
			}
		}
	}
	first := d.Node()
	for _, word = range []string{"raid-node.json", "Cd"} {
		if _, _, err := d.NewNode(); err == nil || d.Node() != first {
			t.Errorf("with %s failing: %v, node %s", word, err, d.Node())
		}
		inPlace("no new id with "+word+" failing", true)
		if err := d.Reassign(other); err == nil || d.Array() != testArray {
			t.Errorf("with %s failing: %v, array %s", word, err, d.Array())
		}
		inPlace("with "+word+" failing", true)
	}
	word = ""
	if err := d.Reassign(other); err != nil {
		t.Fatal(err)
	}
	inPlace("in the other array", false)
	word = "Cd" // on the way back, behind the marker
	if err := d.Reassign(testArray); err == nil {
		t.Error("it did not fail")
	}
	word = ""
	newer := filepath.Join(m.chunks, "Cd", "Cdz")
	if err := errors.Join(os.MkdirAll(filepath.Dir(newer), 0o750), os.WriteFile(newer, nil, 0o640)); err != nil {
		t.Fatal(err)
	}
	if err := d.Reassign(testArray); err != nil {
		t.Fatal(err)
	}
	inPlace("back, at the second attempt", true)
	if _, err := os.Stat(newer); err != nil {
		t.Error("a newer chunk is gone")
	}
	id, kept, err := d.NewNode()
	if err != nil || kept != "kept-"+string(testArray)+"-"+string(first) || id == first {
		t.Errorf("%s, %s, %v", id, kept, err)
	}
	inPlace("as another node", false)
	if _, kept, err := d.NewNode(); kept != "" || err != nil {
		t.Errorf("with nothing to keep: %q, %v", kept, err)
	}
}

// The marker has the new id and the state the old one.
func TestDiskWhoseNodeIDIsNewerThanTheStateIsBelieved(t *testing.T) {
	m := newMachine(t)
	m.start(false)
	old, err := os.ReadFile(filepath.Join(m.state, "raid-node.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.try(false)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := d.NewNode()
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := os.WriteFile(filepath.Join(m.state, "raid-node.json"), old, 0o640); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if again := m.start(false); again.Node() != second {
			t.Errorf("node %s came back as %s", second, again.Node())
		}
	}
}
