package controller

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
)

// outlook is what is known of nodes and of the files on them. What it finds depends on
// nothing else.
type outlook struct {
	nodes          []raid.NodeInfo
	all, now       catalog.Reach // with all nodes of the array there, and as it is
	lost           []raid.FileID // some of those of which no node has all parts
	degraded       int64         // files that the catalog calls so
	grace          time.Duration // so long a node may be away and is expected back
	copies         int
	degradedWrites bool
}

// findings are in the order of how bad they are.
func (o outlook) findings() (found []raid.Finding) {
	add := func(h raid.Health, impairs bool, format string, args ...any) {
		found = append(found, raid.Finding{Health: h, Impairs: impairs, Text: fmt.Sprintf(format, args...)})
	}
	up, away := o.split()
	if o.all.None > 0 {
		add(raid.DataLost, true, "%s lost: no node of the array has a good copy of some part%s", files(o.all.None, o.all.AtMost), o.whichLost())
	}
	none, one := o.now.None-o.all.None, o.now.OneCopy-o.all.OneCopy // for want of nodes
	oneCopy := fmt.Sprintf("%s %s one copy", files(one, o.now.AtMost), have(one))
	switch unread := files(none, o.now.AtMost) + " can't be read"; {
	case none > 0 && one > 0:
		add(raid.AtRisk, true, "%s and %s; %s", unread, oneCopy, whoIsAway(away, needed(away)))
	case none > 0:
		add(raid.AtRisk, true, "%s; %s", unread, whoIsAway(away, needed(away)))
	case one > 0 && len(away) > 0:
		add(o.patience(away), false, "%s; %s", oneCopy, whoIsAway(away, o.remedy(away, up)))
	case len(away) > 0:
		add(raid.Degraded, false, "%s", whoIsAway(away, o.remedy(away, up)))
	}
	if o.degraded > 0 {
		o.addDegraded(add, up)
	}
	switch {
	case len(o.nodes) == 0:
		add(raid.Degraded, true, "no node has joined yet, so nothing can be stored: sudo raidctl token create prints what to paste on each Pi")
	case up == 0:
		add(raid.AtRisk, true, "no node takes chunks now, so nothing can be stored")
	case up < o.copies && !o.degradedWrites:
		add(raid.AtRisk, true, "nothing can be stored: degraded_writes is off, and of %d nodes that this needs %d is up", o.copies, up)
	}
	if o.now.Partial {
		add(raid.Degraded, false, "after an update it is still being counted where files are, so there may be more")
	}
	return found
}

// whichLost names some of the files that are lost.
func (o outlook) whichLost() string {
	if len(o.lost) == 0 {
		return ""
	}
	var ids []string
	for _, id := range o.lost[:min(len(o.lost), maxNamed)] {
		ids = append(ids, strconv.FormatInt(int64(id), 10))
	}
	text := " (ids " + strings.Join(ids, ", ")
	if o.all.None > int64(len(ids)) {
		text += ", ..."
	}
	return text + ")"
}

// split tells how many nodes take chunks, and which native ones are not there.
func (o outlook) split() (up int, away []raid.NodeInfo) {
	for _, n := range o.nodes {
		if n.State == raid.Up && !n.ReadOnly {
			up++
		}
		if n.Kind == raid.Native && !n.IsThere() {
			away = append(away, n)
		}
	}
	return up, away
}

// addDegraded tells of files that wait for their repair, which takes nodes.
func (o outlook) addDegraded(add func(raid.Health, bool, string, ...any), up int) {
	if up < o.copies {
		add(raid.AtRisk, false, "%s degraded: a second copy needs a second node that is up; add one, or start it", files(o.degraded, false))
		return
	}
	add(raid.Degraded, false, "%s degraded, to be repaired", files(o.degraded, false))
}

// patience is how bad it is that nodes are away: one that restarts comes back by
// itself.
func (o outlook) patience(away []raid.NodeInfo) raid.Health {
	for _, n := range away {
		if n.Silent > o.grace {
			return raid.AtRisk
		}
	}
	return raid.Degraded
}

// maxNamed is how many nodes a sentence names.
const maxNamed = 4

// whoIsAway says which nodes are not there, for how long, and what to do about it.
func whoIsAway(away []raid.NodeInfo, advice string) string {
	if len(away) == 0 {
		return "start the nodes that have copies of them" // lab nodes
	}
	var names []string
	for _, n := range away {
		names = append(names, awayText(n))
	}
	if more := len(names) - maxNamed; more > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ") + advice
}

// needed is what to do about nodes without which files can't be read. To remove one is
// no advice: a file may have its only good copy there.
func needed(away []raid.NodeInfo) string {
	if len(away) > 1 {
		return "; start them: files could be lost with them"
	}
	return "; start it: files could be lost with it"
}

// remedy is what to do about nodes without which all files can be read. Removal is
// advised for a node alone that has been away for longer than grace, and only while
// others can take its copies: one that restarts would be thrown away with what it has.
func (o outlook) remedy(away []raid.NodeInfo, up int) string {
	it, gone := "it", 0
	if len(away) > 1 {
		it = "them"
	}
	for _, n := range away {
		if n.State == raid.Down && n.Silent > o.grace {
			gone++
		}
	}
	switch {
	case len(away) == 1 && away[0].State == raid.Suspect && away[0].Problem != "":
		return "" // which says what to do
	case len(away) == 1 && away[0].State == raid.Suspect:
		return "; restart it if it stays so"
	case gone < len(away):
		return "; start " + it + " if that does not end by itself"
	case up < o.copies || o.now.Partial:
		return "; start " + it
	case len(away) > 1:
		return "; start them, or take out what never comes back: sudo raidctl node remove"
	}
	return "; start it, or: sudo raidctl node remove " + calledNode(away[0])
}

// awayText says of a node that is not there for how long that is so.
func awayText(n raid.NodeInfo) string {
	switch {
	case n.State == raid.Suspect && n.Problem != "":
		return calledNode(n) + ": " + n.Problem
	case n.State == raid.Suspect:
		return calledNode(n) + " does not answer"
	}
	if n.Silent < time.Minute {
		return calledNode(n) + " away"
	}
	return fmt.Sprintf("%s away for %s", calledNode(n), roughly(n.Silent))
}

// calledNode is what people call a node.
func calledNode(n raid.NodeInfo) string {
	if n.Name == "" {
		return string(n.ID)
	}
	return n.Name
}

// roughly writes a length of time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}

// files is a number of files in words: "2,032 files".
func files(n int64, atMost bool) string {
	text := "1 file"
	if n != 1 {
		text = grouped(n) + " files"
	}
	if atMost {
		return "up to " + text
	}
	return text
}

func have(n int64) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

// grouped writes a number with commas between groups of three digits.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
