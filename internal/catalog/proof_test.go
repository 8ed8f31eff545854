package catalog

import (
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// A catalog that is put back tells by the proofs of what came after it that this was its
// array; nobody else can make one, nor one number's proof be another's.
func TestCatalogPutBackRecognisesTheNumbersOfTheNewest(t *testing.T) {
	dir := t.TempDir()
	c := openTest(t, dir+"/catalog.db")
	if m := c.Prove(c.Commit()); m != (raid.CommitMAC{}) {
		t.Errorf("proved with no key: %x", m)
	}
	must(t, c.ProveWith(bg, [32]byte{1}))
	must(t, (&migrator{conn: idleWriter(t, c)}).copyTo(bg, dir+"/older.db"))
	store(t, c, 1)
	newest := raid.Commit{Number: c.Commit(), MAC: c.Prove(c.Commit())}
	must(t, c.Close())

	older := openTest(t, dir+"/older.db")
	must(t, older.ProveWith(bg, [32]byte{2})) // of another CA: the catalog keeps the key that it has
	if older.Knows(newest.Number) || !older.Genuine(newest) || !older.Possible(newest.Number) {
		t.Errorf("number %d of the newest: known %v, genuine %v, possible %v", newest.Number, older.Knows(newest.Number), older.Genuine(newest), older.Possible(newest.Number))
	}
	flipped := newest
	flipped.MAC[3] ^= 1
	for name, n := range map[string]raid.Commit{
		"without a proof": {Number: newest.Number}, "with another proof": flipped,
		"another number with its proof": {Number: newest.Number + 1, MAC: newest.MAC}, "none": {},
	} {
		if older.Genuine(n) {
			t.Errorf("a number %s is taken for genuine", name)
		}
	}
	if older.Prove(0) != (raid.CommitMAC{}) {
		t.Error("the number 0, which is none, has a proof")
	}
}

// The key is made of the CA's where the catalog has none: a copy from before there was
// one comes to the same.
func TestCatalogFromBeforeTheKeyComesToTheSame(t *testing.T) {
	dir := t.TempDir()
	c := openTest(t, dir+"/catalog.db")
	must(t, (&migrator{conn: idleWriter(t, c)}).copyTo(bg, dir+"/older.db"))
	must(t, c.ProveWith(bg, [32]byte{1}))
	store(t, c, 1)
	newest := raid.Commit{Number: c.Commit(), MAC: c.Prove(c.Commit())}
	must(t, c.Close())
	older := openTest(t, dir+"/older.db")
	must(t, older.ProveWith(bg, [32]byte{1}))
	if older.Knows(newest.Number) || !older.Genuine(newest) {
		t.Error("the number of the newest is not recognised")
	}
}

func TestNumbersThatNoControllerCanHaveComeToAreImpossible(t *testing.T) {
	c := openTest(t, t.TempDir()+"/catalog.db")
	for _, n := range []uint64{9_000_000_000_000_000_000, 1<<64 - 1, 1 << 63, 1, 0, c.Commit() &^ lastCount, uint64(c.Run()+forgetRuns+1)<<(tagBits+countBits) | 1} {
		if c.Possible(n) {
			t.Errorf("%d is possible", n)
		}
	}
	if next := uint64(c.Run()+1)<<(tagBits+countBits) | 7<<countBits | 1; !c.Possible(next) || !c.Possible(c.Commit()+1) {
		t.Error("the next run's numbers are impossible")
	}
}

func TestTheKeyOfCommitNumbersIsWrittenOnce(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	must(t, c.ProveWith(bg, [32]byte{5}))
	commit, mac := c.Commit(), c.Prove(c.Commit())
	must(t, c.Close())
	c = openTest(t, path)
	if c.Prove(commit) != mac {
		t.Error("another proof after a start")
	}
	now := c.Commit()
	must(t, c.ProveWith(bg, [32]byte{5}))
	if c.Commit() != now {
		t.Error("a key that is there is written again")
	}
}
