package catalog

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func ptr[T any](v T) *T { return &v }

func nodeOf(t *testing.T, c *Catalog, id raid.NodeID) raid.NodeRecord {
	t.Helper()
	r, ok := c.Node(id)
	if !ok {
		t.Fatalf("the catalog does not know node %s", id)
	}
	return r
}

// Zones came from the nodes themselves once. Copies lie where they are because of
// them, so they stay as if a person had set them.
func TestZonesOfAnOlderCatalogStayAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	old, err := openConn(path, nil)
	must(t, err)
	_, err = (&migrator{conn: old, path: path, steps: migrations()[:5], log: slog.New(slog.DiscardHandler)}).run(bg)
	must(t, err)
	must(t, old.script(`INSERT INTO meta VALUES (1, 'a', 4, 0, 9, 0, 0, 0, 0, '2026-01-01 00:00:00');
		INSERT INTO node (key, id, zone) VALUES (1, 'n1', 'shed'), (2, 'n2', '')`))
	must(t, old.close())
	c := openTest(t, path)
	for id, zone := range map[raid.NodeID]string{"n1": "shed", "n2": ""} {
		if r := nodeOf(t, c, id); r != (raid.NodeRecord{ID: id, Zone: zone}) {
			t.Errorf("%+v", r)
		}
	}
}

func TestWhatPeopleDecideAboutANodeLasts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	join(t, c, "n1", 1)
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Address: "10.0.0.1", Disk: 64e9}))
	m, err := c.ChangeNode(bg, "n1", raid.NodeChange{Zone: ptr("attic"), Name: ptr("upstairs"), Disk: ptr(int64(256e9))})
	must(t, err)
	if m.Name != "upstairs" || !m.Named || m.Key == (raid.KeyPin{}) {
		t.Errorf("member %+v", m)
	}
	commit := c.Commit()
	_, err = c.ChangeNode(bg, "n1", raid.NodeChange{Zone: ptr("attic"), Name: ptr("upstairs")})
	must(t, err)
	if c.Commit() != commit {
		t.Error("the same again is written again")
	}
	// What is observed changes none of it.
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Zone: "own", Address: "10.0.0.2", Disk: 1e18}))
	for range 2 {
		if r := nodeOf(t, c, "n1"); r != (raid.NodeRecord{ID: "n1", Zone: "attic", Address: "10.0.0.2", Disk: 256e9}) {
			t.Errorf("%+v", r)
		}
		if m := memberOf(t, c, "n1"); m.Name != "upstairs" || !m.Named {
			t.Errorf("%+v", m)
		}
		must(t, c.Close())
		c = openTest(t, path)
	}
	for id, to := range map[raid.NodeID]raid.NodeChange{"n1": {Zone: ptr("a\nb")}, "n2": {Zone: ptr("x")}, "": {Zone: ptr("x")}, "lab-1": {Zone: ptr("x")}} {
		if _, err := c.ChangeNode(bg, id, to); err == nil {
			t.Errorf("%q: %+v is taken", id, to)
		}
	}
	m, err = c.ChangeNode(bg, "n1", raid.NodeChange{Name: ptr("")})
	if err != nil || m.Named {
		t.Errorf("its own name again: %+v, %v", m, err)
	}
	checkMembers(t, c)
}

func TestAJoinTokenPutsANodeIntoItsZoneWithTheDiskThatItHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	use := raid.TokenUse{Token: "first", Uses: 1, Zone: "cellar"}
	_, err := c.Join(bg, raid.Member{ID: "n1", Name: "pi-1", Key: pinN(1)}, use)
	must(t, err)
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Disk: 64e9}))
	if r := nodeOf(t, c, "n1"); r.Zone != "cellar" || r.Disk != 64e9 {
		t.Errorf("%+v", r)
	}
	// Once more, with another card: the zone stays, the disk is seen anew.
	_, err = c.Rekey(bg, raid.Member{ID: "n1", Name: "pi-1", Key: pinN(2)}, raid.TokenUse{Token: "second", Uses: 1})
	must(t, err)
	must(t, c.Close())
	c = openTest(t, path)
	if r := nodeOf(t, c, "n1"); r.Zone != "cellar" || r.Disk != 0 {
		t.Errorf("%+v", r)
	}
}
