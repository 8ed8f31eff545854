package identity

import (
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestHelloNamesTheArrayAndHidesTheNode(t *testing.T) {
	array, node := raid.ArrayID("1KMXeMnZm1Z8t6sCgdWI50"), raid.NodeID("2KMXeMnZm1Z8t6sCgdWI50")
	name := helloName(array, node)
	if strings.Contains(name, string(node)) {
		t.Errorf("%q shows the node's id to everybody", name)
	}
	if len(name) > 255 {
		t.Errorf("%q is no name of a server", name)
	}
	a, mark, ok := ParseHello(name)
	if !ok || a != array || mark != Mark(array, node) || mark == Mark(array, "3KMXeMnZm1Z8t6sCgdWI50") {
		t.Errorf("%q is read as %q, %q, %v", name, a, mark, ok)
	}
	for _, bad := range []string{"", ".raidpi", "a.b.raidpi", name[1:], strings.Replace(name, ".", "", 1), name + ".", string(array) + ".zz00000000000000.raidpi", string(array) + ".00.raidpi"} {
		if a, _, ok := ParseHello(bad); ok {
			t.Errorf("%q is read as of array %q", bad, a)
		}
	}
}
