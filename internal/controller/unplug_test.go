package controller

import (
	"errors"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestUnplugSaysWhatMayBeDoneAndWhatToWaitFor(t *testing.T) {
	pi3 := raid.NodeInfo{ID: "id-3", Name: "pi-3", Kind: raid.Native, State: raid.Up}
	down, hung, draining, strange := pi3, pi3, pi3, pi3
	down.State, hung.State, draining.State, strange.Name = raid.Down, raid.Suspect, raid.Draining, "$(reboot)"
	other := raid.NodeInfo{ID: "id-2", Name: "pi-2", Kind: raid.Native, State: raid.Down}
	lab := raid.NodeInfo{ID: "lab-1", Kind: raid.Lab, State: raid.Up}
	without := func(files, one, none, stops int64) raid.ReachWithout {
		return raid.ReachWithout{Reach: raid.Reach{OneCopy: one, None: none}, Stops: stops, Files: files}
	}
	moves := raid.HealingProgress{PartsLeft: 1204, BytesLeft: 3_100_000_000, BytesPerSecond: 48_000_000, SecondsLeft: 130}
	noRoom := raid.HealingProgress{PartsLeft: 4, SecondsLeft: -1, BlockedBy: "add a node, or free 12 GiB"}
	for name, c := range map[string]struct {
		unplugging
		safe    bool
		seconds int64
		wait    string
		text    string
	}{
		"of three": {unplugging{node: pi3, others: 2, without: without(2032, 2032, 0, 0)}, true, 0, "",
			"pi-3 may be unplugged: every file can be read without it that can be read now. 2,032 files have one copy meanwhile. " +
				"If it is off for longer than 15 min, other nodes get its copies. To take it away for good, first: sudo raidctl node drain pi-3"},
		"of two": {unplugging{node: pi3, others: 1, without: without(9, 9, 0, 0)}, true, 0, "",
			"pi-3 may be unplugged: every file can be read without it that can be read now. 9 files have one copy meanwhile. To take it away for good, add another node first"},
		"a name for no shell": {unplugging{node: strange, others: 2, without: without(1, 1, 0, 0)}, true, 0, "",
			"$(reboot) may be unplugged: every file can be read without it that can be read now. 1 file has one copy meanwhile. " +
				"If it is off for longer than 15 min, other nodes get its copies. To take it away for good, first: sudo raidctl node drain id-3"},
		"nothing on it": {unplugging{node: pi3, others: 2}, true, 0, "", "pi-3 may be unplugged: no file has a copy on it"},
		"drained":       {unplugging{node: draining, others: 2}, true, 0, "", "pi-3 may be unplugged: no file has a copy on it"},
		"it drains": {unplugging{node: draining, others: 2, without: without(5, 5, 5, 5), healing: moves}, false, 130, "healing: 1,204 parts (3.1 GB) left, 48.0 MB/s, about 2 min",
			"leave pi-3 on: without it 5 files could not be read. Wait for healing: 1,204 parts (3.1 GB) left, 48.0 MB/s, about 2 min"},
		"the other is away": {unplugging{node: pi3, others: 1, away: []raid.NodeInfo{other}, without: without(9, 0, 4, 4)}, false, -1, "pi-2 to return",
			"leave pi-3 on: without it 4 files could not be read. Wait for pi-2 to return"},
		"the other is away, and there is no room": {unplugging{node: pi3, others: 1, away: []raid.NodeInfo{other}, without: without(9, 0, 4, 4), healing: noRoom}, false, -1,
			"pi-2 to return, or for room to make copies: add a node, or free 12 GiB",
			"leave pi-3 on: without it 4 files could not be read. Wait for pi-2 to return, or for room to make copies: add a node, or free 12 GiB"},
		"no room": {unplugging{node: pi3, others: 2, without: without(9, 0, 4, 4), healing: noRoom}, false, -1,
			"second copies. They can't be made now: add a node, or free 12 GiB",
			"leave pi-3 on: without it 4 files could not be read. Wait for second copies. They can't be made now: add a node, or free 12 GiB"},
		"alone": {unplugging{node: pi3, without: without(9, 0, 9, 9)}, false, -1, "second copies, which need another node: sudo raidctl token create prints what to paste there",
			"leave pi-3 on: without it 9 files could not be read. Wait for second copies, which need another node: sudo raidctl token create prints what to paste there"},
		"it has bad copies beside": {unplugging{node: pi3, others: 2, without: without(9, 0, 1, 1)}, false, -1, "second copies to be made",
			"leave pi-3 on: without it 1 file could not be read. Wait for second copies to be made"},
		"deleted files have their last copies on it": {unplugging{node: pi3, others: 2, without: raid.ReachWithout{TrashStops: 2, Trash: 3}, healing: moves}, false, 130,
			"healing: 1,204 parts (3.1 GB) left, 48.0 MB/s, about 2 min; to give the deleted files up: raidctl trash empty",
			"leave pi-3 on: without it up to 2 deleted files could not be put back. " +
				"Wait for healing: 1,204 parts (3.1 GB) left, 48.0 MB/s, about 2 min; to give the deleted files up: raidctl trash empty"},
		"deleted files have copies elsewhere": {unplugging{node: pi3, others: 2, without: raid.ReachWithout{Trash: 1}}, true, 0, "",
			"pi-3 may be unplugged: only files that were deleted and can be put back have copies on it, and elsewhere. To take it away for good, first: sudo raidctl node drain pi-3"},
		"files are lost already": {unplugging{node: pi3, others: 2, without: without(9, 0, 3, 0), now: raid.Reach{None: 3}}, true, 0, "",
			"pi-3 may be unplugged: every file that can be read now has its copies elsewhere. 3 files can't be read even with it. To take it away for good, first: sudo raidctl node drain pi-3"},
		"an upload needs it": {unplugging{node: pi3, others: 2, uploads: 3, depending: 1}, false, -1, "1 upload to end, of which the only copy of some part is here",
			"leave pi-3 on. Wait for 1 upload to end, of which the only copy of some part is here"},
		"uploads go on elsewhere": {unplugging{node: pi3, others: 2, uploads: 3}, true, 0, "", "pi-3 may be unplugged: no file has a copy on it"},
		"uploads can't go on":     {unplugging{node: pi3, uploads: 2}, false, -1, "2 uploads to end", "leave pi-3 on. Wait for 2 uploads to end"},
		"nothing can be stored":   {unplugging{node: pi3}, true, 0, "", "pi-3 may be unplugged: no file has a copy on it. Nothing can be stored while it is off"},
		"the controller's own": {unplugging{node: pi3, others: 2, here: true, without: without(1, 1, 0, 0)}, true, 0, "",
			"pi-3 may be unplugged: every file can be read without it that can be read now. 1 file has one copy meanwhile. " +
				"It runs on the controller's own machine: while that is off nothing can be stored or read. " +
				"If it is off for longer than 15 min, other nodes get its copies. To take it away for good, first: sudo raidctl node drain pi-3"},
		"the controller's own, with an upload": {unplugging{node: pi3, others: 2, here: true, uploads: 1}, false, -1, "1 upload to end",
			"leave pi-3 on. Wait for 1 upload to end. It runs on the controller's own machine: while that is off nothing can be stored or read"},
		"while files are counted": {unplugging{node: pi3, others: 2, without: raid.ReachWithout{Reach: raid.Reach{Partial: true}}}, false, -1,
			"the count of where files are, which goes on after an update", "leave pi-3 on. Wait for the count of where files are, which goes on after an update"},
		"the catalog is damaged": {unplugging{node: pi3, others: 2, broken: errors.New("the catalog is damaged")}, false, -1,
			"the catalog is damaged", "leave pi-3 on: what it has is not known. the catalog is damaged"},
		"away, and needed": {unplugging{node: down, others: 2, without: without(9, 5, 4, 0), now: raid.Reach{None: 4}}, true, 0, "",
			"pi-3 is not there already, and 4 files can't be read, maybe for want of it: keep its disk, and start it"},
		"hung, and needed": {unplugging{node: hung, others: 2, without: without(9, 5, 4, 0), now: raid.Reach{None: 4}}, false, -1,
			"it to answer again", "leave pi-3 on: it does not answer now, and 4 files can't be read, maybe for want of it"},
		"hung, and not needed": {unplugging{node: hung, others: 2, without: without(9, 5, 0, 0)}, true, 0, "",
			"pi-3 is not there already. Everything can be read without it. Keep its disk until raidctl status says healthy"},
		"away, and not needed": {unplugging{node: down, others: 2, without: without(9, 5, 0, 0)}, true, 0, "",
			"pi-3 is not there already. Everything can be read without it. Keep its disk until raidctl status says healthy"},
		"away, and empty": {unplugging{node: down, others: 2}, true, 0, "", "pi-3 is not there already. No file has a copy on it"},
		"a lab node": {unplugging{node: lab, others: 2, without: raid.ReachWithout{Reach: raid.Reach{None: 3, AtMost: true}, Stops: 3, Files: 3}}, false, -1,
			"second copies to be made", "leave lab-1 on: without it up to 3 files could not be read. Wait for second copies to be made"},
	} {
		c.copies, c.degradedWrites, c.grace = 2, true, 15*time.Minute
		a := c.answer()
		if a.Safe != c.safe || a.Seconds != c.seconds || a.WaitFor != c.wait || a.Text != c.text {
			t.Errorf("%s: safe %v, %d s, %q\n%q\nwant %v, %d s, %q\n%q", name, a.Safe, a.Seconds, a.WaitFor, a.Text, c.safe, c.seconds, c.wait, c.text)
		}
		if a.UnreadableFiles != c.without.None || a.UnprotectedFiles != c.without.OneCopy || a.Uploads != c.depending {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
