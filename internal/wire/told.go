package wire

import (
	"slices"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// Told holds what a controller tells a node besides requests. It may change while both run.
type Told struct {
	Hosts []string         // names and addresses of the controller's machine, the best first
	Name  string           // what the array calls the node
	Scrub *raid.ScrubOrder // nil: nothing
}

const (
	maxHosts    = 8   // that a node reads
	maxHostText = 255 // bytes of each, and of a name
)

func (t Told) same(u Told) bool {
	return t.Name == u.Name && slices.Equal(t.Hosts, u.Hosts) &&
		(t.Scrub == nil) == (u.Scrub == nil) && (t.Scrub == nil || *t.Scrub == *u.Scrub)
}

// toldBy reads what a heartbeat tells: no more than is of use, and nothing that is
// no text.
func toldBy(pb *wirepb.GetdataRequest) (t Told) {
	for _, h := range pb.GetControllerHosts() {
		if len(t.Hosts) < maxHosts && h != "" && len(h) <= maxHostText && utf8.ValidString(h) {
			t.Hosts = append(t.Hosts, h)
		}
	}
	if n := pb.GetNodeName(); len(n) <= maxHostText && utf8.ValidString(n) {
		t.Name = n
	}
	if o := pb.GetScrubOrder(); o != nil {
		t.Scrub = &raid.ScrubOrder{Every: seconds(o.EverySeconds), Paused: o.Paused, Keep: seconds(o.KeepBadSeconds)}
	}
	return t
}
