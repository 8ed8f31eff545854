package controller

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/raid"
)

// node tells of a node, what rests on it, and whether it may be taken off now. It fails with
// raid.ErrNotFound.
func (c *Controller) node(_ context.Context, id raid.NodeID) (httpapi.NodeDetail, error) {
	nodes := c.nodesByName()
	u := unplugging{
		copies: c.cfg.Copies, degradedWrites: c.cfg.DegradedWrites, grace: c.cfg.Grace, healing: c.repair.Progress(), broken: c.believable(),
	}
	there, lab, known := map[raid.NodeID]bool{}, false, false
	for _, n := range nodes {
		switch there[n.ID] = n.IsThere(); {
		case n.ID == id:
			u.node, known = n, true
		case n.Kind == raid.Native && !n.IsThere():
			u.away = append(u.away, n)
		case n.State == raid.Up && !n.ReadOnly:
			u.others++
		}
		lab = lab || n.Kind == raid.Lab && n.IsThere()
	}
	if !known {
		return httpapi.NodeDetail{}, fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
	}
	isThere := func(id raid.NodeID) bool { return there[id] }
	u.without = c.catalog.Without(id, isThere, lab)
	_, u.now = c.reach(nodes)
	u.uploads, u.depending = c.objects.Depending(id, u.node.Kind == raid.Lab, isThere, lab)
	u.here = u.node.Kind == raid.Native && c.isHere(u.node.Address)
	return httpapi.NodeDetail{Info: u.node, Lost: c.repair.Lost(id), Files: u.without.Files, Unplug: u.answer()}, nil
}

// believable says why the catalog can't tell what is where, if it can't.
func (c *Controller) believable() error {
	if err := c.ready(); err != nil {
		return err
	}
	return c.catalog.Damaged()
}

// isHere reports whether an address of a node is one of this machine's.
func (c *Controller) isHere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	_, own := c.certificate.machine()
	for _, b := range own {
		if b.Unmap().WithZone("") == a {
			return true
		}
	}
	return false
}

// unplugging has all that the answer depends on, and nothing else.
type unplugging struct {
	node               raid.NodeInfo
	away               []raid.NodeInfo // other native nodes that are not there
	others             int             // nodes beside it that take chunks
	without            raid.ReachWithout
	now                raid.Reach // with the node
	healing            raid.HealingProgress
	uploads, depending int   // under way, and those of them that would fail
	here               bool  // it runs on the controller's machine
	broken             error // why the catalog can't tell
	copies             int
	degradedWrites     bool
	grace              time.Duration
}

func (u unplugging) answer() httpapi.Unplug {
	w := u.without
	a := httpapi.Unplug{
		Node: u.node.ID, UnreadableFiles: w.None, UnprotectedFiles: w.OneCopy, AtMost: w.AtMost, Uploads: u.depending,
	}
	if u.node.State == raid.Suspect && w.None > 0 && w.Files > 0 {
		a.WaitFor, a.Seconds = "it to answer again", unknown
		a.Text = fmt.Sprintf("leave %s on: it does not answer now, and %s can't be read, maybe for want of it", calledNode(u.node), files(w.None, w.AtMost))
		return a
	}
	if !u.node.IsThere() {
		a.Safe, a.Text = true, u.isAway()
		return a
	}
	a.WaitFor, a.Seconds = u.waitFor()
	a.Safe = a.WaitFor == ""
	a.Text = u.sentence(a)
	return a
}

// unknown is a time that can't be told.
const unknown = -1

// waitFor says what must come before the node may go; empty: nothing. seconds is how
// long that takes about, or unknown.
func (u unplugging) waitFor() (what string, seconds int64) {
	switch {
	case u.broken != nil:
		return u.broken.Error(), unknown
	case u.without.Partial:
		return "the count of where files are, which goes on after an update", unknown
	case u.without.Stops > 0:
		return u.waitForCopies()
	case u.without.TrashStops > 0:
		what, seconds = u.waitForCopies()
		return what + "; to give the deleted files up: raidctl trash empty", seconds
	case u.depending > 0:
		return uploads(u.depending) + " to end, of which the only copy of some part is here", unknown
	case u.uploads > 0 && (u.here || !u.canStore()):
		return uploads(u.uploads) + " to end", unknown
	}
	return "", 0
}

// canStore reports whether files can be stored without the node.
func (u unplugging) canStore() bool {
	return u.others >= u.copies || u.degradedWrites && u.others > 0
}

// waitForCopies says how copies come about elsewhere of what is on this node alone.
func (u unplugging) waitForCopies() (what string, seconds int64) {
	h := u.healing
	switch {
	case h.PartsLeft > 0 && h.BlockedBy == "":
		return "healing: " + healingText(h), h.SecondsLeft
	case len(u.away) > 0:
		text := listNodes(u.away, calledNode) + " to return"
		if h.BlockedBy != "" {
			text += ", or for room to make copies: " + h.BlockedBy
		}
		return text, unknown
	case h.BlockedBy != "":
		return "second copies. They can't be made now: " + h.BlockedBy, unknown
	case u.others < u.copies-1:
		return "second copies, which need " + more(u.copies-1-u.others) + ": sudo raidctl token create prints what to paste there", unknown
	}
	return "second copies to be made", unknown
}

func more(n int) string {
	if n <= 1 {
		return "another node"
	}
	return fmt.Sprintf("%d more nodes", n)
}

func uploads(n int) string {
	if n == 1 {
		return "1 upload"
	}
	return fmt.Sprintf("%d uploads", n)
}

// isAway is the sentence about a node that is not there.
func (u unplugging) isAway() string {
	text := calledNode(u.node) + " is not there already"
	switch w := u.without; {
	case u.broken != nil:
		return text + ". What it has is not known: " + u.broken.Error()
	case w.Files+w.Trash == 0 && !w.Partial:
		return text + ". No file has a copy on it"
	case w.None > 0:
		return fmt.Sprintf("%s, and %s can't be read, maybe for want of it: keep its disk, and start it", text, files(w.None, w.AtMost))
	}
	return text + ". Everything can be read without it. Keep its disk until raidctl status says healthy"
}

// sentence says to a person what may be done.
func (u unplugging) sentence(a httpapi.Unplug) string {
	name, w := calledNode(u.node), u.without
	var said []string
	switch {
	case a.Safe:
		said = append(said, name+" may be unplugged: "+u.whatStays())
	case u.broken != nil:
		said = append(said, fmt.Sprintf("leave %s on: what it has is not known. %v", name, u.broken))
	case w.Stops > 0 && !w.Partial:
		said = append(said, fmt.Sprintf("leave %s on: without it %s could not be read. Wait for %s", name, files(w.Stops, w.AtMost), a.WaitFor))
	case w.TrashStops > 0 && !w.Partial:
		said = append(said, fmt.Sprintf("leave %s on: without it %s could not be put back. Wait for %s", name, deleted(w.TrashStops), a.WaitFor))
	default:
		said = append(said, fmt.Sprintf("leave %s on. Wait for %s", name, a.WaitFor))
	}
	if u.now.None > 0 {
		said = append(said, files(u.now.None, u.now.AtMost)+" can't be read even with it")
	}
	if u.here {
		said = append(said, "It runs on the controller's own machine: while that is off nothing can be stored or read")
	} else if a.Safe && !u.canStore() {
		said = append(said, "Nothing can be stored while it is off")
	}
	if a.Safe && w.Files+w.Trash > 0 && u.node.Kind == raid.Native {
		said = append(said, u.forHowLong())
	}
	return strings.Join(said, ". ")
}

func (u unplugging) whatStays() string {
	w := u.without
	switch {
	case w.Files == 0 && w.Trash == 0:
		return "no file has a copy on it"
	case w.Files == 0:
		return "only files that were deleted and can be put back have copies on it, and elsewhere"
	case w.OneCopy > 0:
		return fmt.Sprintf("every file can be read without it that can be read now. %s %s one copy meanwhile", files(w.OneCopy, w.AtMost), have(w.OneCopy))
	case u.now.None > 0:
		return "every file that can be read now has its copies elsewhere"
	}
	return "every file has its copies elsewhere"
}

// deleted is a number of files in the trash, at most.
func deleted(n int64) string {
	if n == 1 {
		return "up to 1 deleted file"
	}
	return fmt.Sprintf("up to %s deleted files", grouped(n))
}

// forHowLong tells a pause from a farewell.
func (u unplugging) forHowLong() string {
	text := "To take it away for good, first: sudo raidctl node drain " + raid.NodeArg(u.node.ID, u.node.Name)
	if u.others < u.copies {
		text = "To take it away for good, add another node first"
	}
	if u.without.OneCopy > 0 && u.others >= u.copies {
		return fmt.Sprintf("If it is off for longer than %s, other nodes get its copies. %s", roughly(u.grace), text)
	}
	return text
}

// listNodes names nodes in one line.
func listNodes(nodes []raid.NodeInfo, text func(raid.NodeInfo) string) string {
	var names []string
	for _, n := range nodes {
		names = append(names, text(n))
	}
	if more := len(names) - maxNamed; more > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
