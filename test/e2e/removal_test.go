package e2e

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// loss asks for the removal of a node with a query. It returns the number of files that this would
// lose according to a 409, -1 when it is done.
func (a *array) loss(id, query string) int {
	a.t.Helper()
	err := a.Root(a.t.Context(), http.MethodDelete, "/nodes/"+id+query, "", nil)
	var refused *cluster.StatusError
	switch {
	case err == nil:
		return -1
	case !errors.As(err, &refused) || refused.Status != http.StatusConflict:
		a.t.Fatalf("remove %s%s: %v", id, query, err)
	}
	found := lostIn.FindStringSubmatch(refused.Message)
	if found == nil {
		a.t.Fatalf("remove %s%s: %v", id, query, err)
	}
	n, err := strconv.Atoi(found[1])
	a.must(err)
	return n
}

var lostIn = regexp.MustCompile(`--force --lose (\d+)$`)

// A node is stopped (SIGSTOP) or killed, and at once another one is to go, before anything but the
// first one's silence can tell. The copies on the first are not counted on. When it is back, the
// same call is fine, and nothing is lost.
func TestNoNodeGoesOnTheWordOfOneThatHangsOrIsDead(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3})
	files := map[int64]cluster.Content{}
	for range 30 {
		c := content(2000)
		files[a.upload(c).ID] = c
	}
	id, err := a.NodeID(0)
	a.must(err)
	a.must(a.Nodes[1].Freeze())
	lost := a.loss(id, "?force=1")
	if lost < 1 {
		t.Errorf("while the other hangs: %d files would be lost", lost)
	}
	a.must(a.Nodes[1].Thaw())
	a.must(a.WaitUp(t.Context(), 3))
	a.must(a.Nodes[1].Kill())
	if again := a.loss(id, "?force=1"); again != lost {
		t.Errorf("while it is dead: %d files would be lost, and %d while it hung", again, lost)
	}
	if again := a.loss(id, "?force=1&lose="+strconv.Itoa(lost-1)); lost > 1 && again != lost {
		t.Errorf("with a wrong number: %d files would be lost", again)
	}
	a.must(a.Nodes[1].Start())
	a.must(a.WaitUp(t.Context(), 3))
	if done := a.loss(id, "?force=1"); done != -1 {
		t.Errorf("with all up: %d files would be lost", done)
	}
	for id, c := range files {
		a.check(id, c)
	}
}
