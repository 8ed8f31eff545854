package catalog

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// wish is a node's wish to join with its n-th key.
func wish(id raid.NodeID, n int) raid.Member {
	return raid.Member{ID: id, Name: "pi-" + string(id), Key: pinN(n)}
}

func pinN(n int) raid.KeyPin { return raid.KeyPin{0: byte(n), 31: 1} }

func join(t testing.TB, c *Catalog, id raid.NodeID, n int) raid.Member {
	t.Helper()
	m, err := c.Join(bg, wish(id, n), raid.TokenUse{Token: "of " + string(id), Uses: 1})
	must(t, err)
	return m
}

// memberOf is a member as the catalog has it.
func memberOf(t testing.TB, c *Catalog, id raid.NodeID) raid.Member {
	t.Helper()
	all, err := c.Members(bg)
	must(t, err)
	i := slices.IndexFunc(all, func(m raid.Member) bool { return m.ID == id })
	if i < 0 {
		return raid.Member{}
	}
	return all[i]
}

// checkMembers compares what is in memory with what a start reads.
func checkMembers(t testing.TB, c *Catalog) {
	t.Helper()
	kept, err := c.Members(bg)
	must(t, err)
	var read []raid.Member
	must(t, c.read(bg, "test", func(r *conn) error {
		var ids []raid.NodeID
		must(t, r.query(func(row []driver.Value) error { ids = append(ids, raid.NodeID(text(row[0]))); return nil }, "SELECT id FROM node ORDER BY key"))
		for _, id := range ids {
			must(t, r.query(func(row []driver.Value) error {
				i, err := scanIdentity(row)
				if m := i.member(id); m != (raid.Member{ID: id}) {
					read = append(read, m)
				}
				return err
			}, "SELECT "+identityColumns+" FROM node WHERE id = ?", string(id)))
		}
		return nil
	}))
	if !slices.Equal(kept, read) {
		t.Errorf("in memory %+v, on disk %+v", kept, read)
	}
}

func TestMembersLastOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var clock atomic.Pointer[time.Time]
	clock.Store(date("2026-01-02 03:04:05"))
	c := openAt(t, path, &clock)
	store(t, c, 1) // n1, n2, n3 have chunks and have not joined
	a, b := join(t, c, "n1", 1), join(t, c, "new", 2)
	if want := (raid.Member{ID: "n1", Name: "pi-n1", Key: pinN(1), Issued: "2026-01-02 03:04:05"}); a != want {
		t.Errorf("joined %+v, want %+v", a, want)
	}
	clock.Store(date("2026-04-02 00:00:00"))
	b, err := c.Certify(bg, "new", pinN(3))
	must(t, err)
	if b.Key != pinN(2) || b.Next != pinN(3) || b.Issued != "2026-04-02 00:00:00" {
		t.Errorf("certified %+v", b)
	}
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Address: "10.0.0.7", CleanedRun: 1}))
	for range 2 {
		if got, want := memberOf(t, c, "n1"), a; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := memberOf(t, c, "new"); got != b {
			t.Errorf("%+v, want %+v", got, b)
		}
		if all, _ := c.Members(bg); len(all) != 2 || !c.Remembers("new") {
			t.Errorf("members %+v", all)
		}
		if who, err := c.TokenUsers(bg, "of new"); err != nil || !slices.Equal(who, []string{"pi-new"}) {
			t.Errorf("used by %q, %v", who, err)
		}
		nodes, err := c.Nodes(bg)
		must(t, err)
		if i := slices.IndexFunc(nodes, func(r raid.NodeRecord) bool { return r.ID == "n1" }); nodes[i].Address != "10.0.0.7" || len(nodes) != 4 {
			t.Errorf("nodes %+v", nodes)
		}
		checkMembers(t, c)
		must(t, c.Close())
		c = openAt(t, path, &clock)
	}
}

func TestJoiningAgainSpendsNothing(t *testing.T) {
	c := openTest(t, "")
	one := raid.TokenUse{Token: "t", Uses: 1}
	first, err := c.Join(bg, wish("a", 1), one)
	must(t, err)
	_, err = c.Certify(bg, "a", pinN(2))
	must(t, err)
	commit := c.Commit()
	for _, key := range []int{1, 2} {
		for _, again := range []func() (raid.Member, error){
			func() (raid.Member, error) { return c.Join(bg, wish("a", key), one) },
			func() (raid.Member, error) { return c.Rekey(bg, wish("a", key), raid.TokenUse{Token: "other"}) },
		} {
			if m, err := again(); err != nil || m.Key != first.Key || m.Next != pinN(2) {
				t.Errorf("with key %d: %+v, %v", key, m, err)
			}
		}
	}
	if c.Commit() != commit {
		t.Error("something was written")
	}
}

func TestAJoinIsRefusedWithWords(t *testing.T) {
	c := openTest(t, "")
	two := raid.TokenUse{Token: "t", Uses: 2}
	for _, id := range []raid.NodeID{"a", "b"} {
		_, err := c.Join(bg, wish(id, 1), two)
		must(t, err)
	}
	join(t, c, "gone", 1)
	must(t, c.RemoveNode(bg, "gone", nil, nil))
	commit := c.Commit()
	for _, r := range []struct {
		m    raid.Member
		use  raid.TokenUse
		want error
		says string
	}{
		{wish("c", 1), two, raid.ErrUnauthorized, "used by pi-a, pi-b"},
		{wish("c", 1), raid.TokenUse{Token: "x"}, raid.ErrUnauthorized, "no uses left"},
		{wish("a", 7), raid.TokenUse{Token: "x", Uses: 1}, raid.ErrPrecondition, "token create --node a"},
		{wish("gone", 1), raid.TokenUse{Token: "x", Uses: 1}, raid.ErrForbidden, "reset-identity"},
		{wish("lab-10.0.0.1:9", 1), raid.TokenUse{Token: "x", Uses: 1}, raid.ErrInvalid, ""},
		{raid.Member{ID: "c"}, raid.TokenUse{Token: "x", Uses: 1}, raid.ErrInvalid, "a key"},
		{wish("c", 1), raid.TokenUse{Uses: 1}, raid.ErrInvalid, "a token"},
	} {
		m, err := c.Join(bg, r.m, r.use)
		wants(t, err, r.want)
		if m != (raid.Member{}) || !strings.Contains(err.Error(), r.says) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	_, err := c.Rekey(bg, wish("gone", 2), raid.TokenUse{Token: "x", Uses: 1})
	wants(t, err, raid.ErrForbidden)
	_, err = c.Rekey(bg, wish("a", 2), two)
	wants(t, err, raid.ErrUnauthorized)
	if c.Commit() != commit || c.Remembers("c") {
		t.Error("a refused join was written")
	}
}

func TestWhoUsedATokenFitsALine(t *testing.T) {
	var names []string
	for i := range usersShown + 3 {
		names = append(names, fmt.Sprint(i))
	}
	if s := usedBy(names); !strings.HasSuffix(s, "8, 9 and 3 more") {
		t.Error(s)
	}
	c := openTest(t, "")
	_, err := c.Join(bg, raid.Member{ID: "nameless", Key: pinN(1)}, raid.TokenUse{Token: "t", Uses: 1})
	must(t, err)
	if who, err := c.TokenUsers(bg, "t"); err != nil || !slices.Equal(who, []string{"nameless"}) {
		t.Errorf("%q, %v", who, err)
	}
}

func TestATokenForOneNodeGivesItANewKey(t *testing.T) {
	c := openTest(t, "")
	join(t, c, "a", 1)
	_, err := c.Certify(bg, "a", pinN(2))
	must(t, err)
	use := raid.TokenUse{Token: "again", Uses: 2}
	for n := range 2 {
		m, err := c.Rekey(bg, wish("a", 3+n), use)
		must(t, err)
		if m.Key != pinN(3+n) || m.Next != (raid.KeyPin{}) || memberOf(t, c, "a") != m {
			t.Errorf("%+v", m)
		}
	}
	_, err = c.Rekey(bg, wish("a", 9), use)
	wants(t, err, raid.ErrUnauthorized)
	wants(t, c.Promote(bg, "a", pinN(2)), raid.ErrPrecondition)
	m, err := c.Rekey(bg, wish("new", 1), raid.TokenUse{Token: "new", Uses: 1})
	if err != nil || m.Key != pinN(1) {
		t.Errorf("a new node: %+v, %v", m, err)
	}
	checkMembers(t, c)
}

// All wait for one transaction, or for two.
func TestATokenLetsNoMoreNodesInThanItMay(t *testing.T) {
	c := openTest(t, "")
	use := raid.TokenUse{Token: "t", Uses: 3}
	var wg sync.WaitGroup
	var in atomic.Int64
	for i := range 20 {
		id := raid.NodeID(fmt.Sprintf("node%d", i/2)) // each comes twice, with one key
		wg.Go(func() {
			m, err := c.Join(bg, wish(id, 1), use)
			switch {
			case err == nil && m.ID == id:
				in.Add(1)
			case !errors.Is(err, raid.ErrUnauthorized):
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	wg.Wait()
	all, err := c.Members(bg)
	must(t, err)
	who, err := c.TokenUsers(bg, "t")
	must(t, err)
	if len(all) != 3 || len(who) != 3 || in.Load() < 3 || in.Load() > 6 {
		t.Errorf("members %+v, used by %q, %d answers", all, who, in.Load())
	}
	checkMembers(t, c)
}

// What fails in a transaction leaves what else is in it alone, also in memory.
func TestAJoinInOneTransactionWithOthers(t *testing.T) {
	c := openTest(t, "")
	wrong := errors.New("wrong")
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(tx *tx) error {
		_, err := tx.join(wish("a", 1), raid.TokenUse{Token: "t", Uses: 2}, false)
		must(t, err)
		mark := tx.mark()
		_, err = tx.conn.exec("SAVEPOINT inner")
		must(t, err)
		_, err = tx.join(wish("b", 1), raid.TokenUse{Token: "t", Uses: 2}, false)
		must(t, err)
		if _, err := tx.join(wish("a", 2), raid.TokenUse{Token: "x", Uses: 1}, false); !errors.Is(err, raid.ErrPrecondition) {
			wrong = err
		}
		_, err = tx.conn.exec("ROLLBACK TO inner")
		must(t, err)
		tx.reset(mark)
		_, err = tx.join(wish("c", 1), raid.TokenUse{Token: "t", Uses: 2}, false)
		return err
	}}))
	all, err := c.Members(bg)
	must(t, err)
	if len(all) != 2 || all[0].ID != "a" || all[1].ID != "c" || wrong.Error() != "wrong" {
		t.Errorf("%+v, %v", all, wrong)
	}
	checkMembers(t, c)
}

func TestTheNextKeyTakesThePlaceOfTheOld(t *testing.T) {
	c := openTest(t, "")
	join(t, c, "a", 1)
	wants(t, c.Promote(bg, "a", pinN(2)), raid.ErrPrecondition)
	_, err := c.Certify(bg, "a", pinN(2))
	must(t, err)
	_, err = c.Certify(bg, "a", pinN(3)) // the answer got lost, and the node drew another
	must(t, err)
	before := c.Commit()
	must(t, c.Promote(bg, "a", pinN(1))) // still in use
	m, err := c.Certify(bg, "a", pinN(1))
	if err != nil || c.Commit() != before || m.Next != pinN(3) {
		t.Errorf("%+v, %v", m, err)
	}
	wants(t, c.Promote(bg, "a", pinN(2)), raid.ErrPrecondition)
	for range 3 {
		must(t, c.Promote(bg, "a", pinN(3)))
	}
	if c.Commit() != before+1 {
		t.Error("a key that is no news was written")
	}
	if m := memberOf(t, c, "a"); m.Key != pinN(3) || m.Next != (raid.KeyPin{}) {
		t.Errorf("%+v", m)
	}
	checkMembers(t, c)
	store(t, c, 1)
	_, err = c.Certify(bg, "n1", pinN(2))
	wants(t, err, raid.ErrNotFound)
	wants(t, c.Promote(bg, "nobody", raid.KeyPin{}), raid.ErrNotFound)
	_, err = c.Certify(bg, "a", raid.KeyPin{})
	wants(t, err, raid.ErrInvalid)
	must(t, c.RemoveNode(bg, "a", nil, nil))
	_, err = c.Certify(bg, "a", pinN(4))
	wants(t, err, raid.ErrForbidden)
	wants(t, c.Promote(bg, "a", pinN(3)), raid.ErrForbidden)
}

func TestAKeyAgesInAnyYear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		var clock atomic.Pointer[time.Time]
		clock.Store(date("2026-01-02 03:04:05"))
		c := openAt(t, path, &clock)
		m := join(t, c, "a", 1)
		clock.Store(date("1970-01-01 00:00:00"))
		time.Sleep(time.Hour)
		if age := c.KeyAge(m); age != time.Hour {
			t.Errorf("after an hour its key is %v old", age)
		}
		must(t, c.Close())
		c = openAt(t, path, &clock)
		if age := c.KeyAge(memberOf(t, c, "a")); age < 0 || age > time.Hour {
			t.Errorf("after a start in 1970 its key is %v old", age)
		}
		clock.Store(date("2026-02-02 03:04:05"))
		if age := c.KeyAge(m); age != 31*24*time.Hour {
			t.Errorf("after a month its key is %v old", age)
		}
		if age := c.KeyAge(raid.Member{}); age != 0 {
			t.Errorf("no key is %v old", age)
		}
	})
}

// A node that was told that it is in must stay in, and a use that was spent spent.
func TestJoinsSurviveAPowerCut(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openWith(t, config(path), options{vfs: fs.name})
	for i := range 5 {
		id := raid.NodeID(fmt.Sprint("node", i))
		want := join(t, c, id, 1)
		if i%2 == 0 {
			var err error
			want, err = c.Certify(bg, id, pinN(2))
			must(t, err)
		}
		if i%4 == 0 {
			must(t, c.Promote(bg, id, pinN(2)))
			want.Key, want.Next = pinN(2), raid.KeyPin{}
		}
		if i == 3 {
			must(t, c.RemoveNode(bg, id, nil, nil))
			want.Removed = true
		}
		after := openTest(t, fs.powerCut(t, path))
		if got := memberOf(t, after, id); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if who, err := after.TokenUsers(bg, "of "+string(id)); err != nil || len(who) != 1 {
			t.Errorf("used by %q, %v", who, err)
		}
		must(t, after.Close())
	}
}

// Nodes of a catalog from before there was joining go on, and can join.
func TestNodesOfAnOlderCatalogCanJoin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	old, err := openConn(path, nil)
	must(t, err)
	_, err = (&migrator{conn: old, path: path, steps: migrations()[:4], log: slog.New(slog.DiscardHandler)}).run(bg)
	must(t, err)
	must(t, old.script(`INSERT INTO meta VALUES (1, 'a', 4, 0, 9, 0, 0, 0, 1, '2026-01-01 00:00:00');
		INSERT INTO node VALUES (1, 'n0', 'shed', '10.0.0.1', 1, 3, 1), (2, 'n1', '', '', 0, 0, 0);
		INSERT INTO removal VALUES (1, '0000000000000000000000', 0, 1, 1)`))
	must(t, old.close())

	c := openTest(t, path)
	if all, err := c.Members(bg); err != nil || len(all) != 0 {
		t.Errorf("members %+v, %v", all, err)
	}
	nodes, err := c.Nodes(bg)
	want := []raid.NodeRecord{{ID: "n0", Zone: "shed", Address: "10.0.0.1", CleanedRun: 3, Relocation: raid.Relocation{Draining: true}}, {ID: "n1"}}
	if err != nil || !reflect.DeepEqual(nodes, want) {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	m := join(t, c, "n0", 1)
	if memberOf(t, c, "n0") != m || sqlInt(t, c, "SELECT key FROM node WHERE id = 'n0'") != 1 {
		t.Errorf("%+v", memberOf(t, c, "n0"))
	}
	must(t, c.RemoveNode(bg, "n1", nil, nil)) // it never joined
	if m := memberOf(t, c, "n1"); m != (raid.Member{ID: "n1", Removed: true}) {
		t.Errorf("%+v", m)
	}
	checkTotals(t, c)
	checkMembers(t, c)
}

func TestACatalogWithHalfAPinIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	join(t, c, "a", 1)
	must(t, idleWriter(t, c).script("PRAGMA ignore_check_constraints = 1; UPDATE node SET pin = x'0102'"))
	must(t, c.Close())
	_, err := Open(bg, config(path))
	wants(t, err, raid.ErrCorrupt)
}
