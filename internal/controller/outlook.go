package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// outlook holds what is known of nodes and of the files on them. What it finds depends on
// nothing else.
type outlook struct {
	nodes          []raid.NodeInfo
	isLost         map[raid.NodeID]bool // away, or hanging, for longer than grace
	all, now       raid.Reach           // with all nodes of the array there, and as it is
	lost           []raid.File          // some of those of which no node has all parts
	degraded       int64                // files that the catalog calls so
	healing        raid.HealingProgress // of what can be made again now
	copies         int
	degradedWrites bool
}

// findings are in the order of how bad they are.
func (o outlook) findings() []raid.Finding {
	l := &listed{outlook: o}
	l.up, l.away = o.split()
	l.addFiles()
	l.addNodes()
	if o.now.Partial {
		l.add(raid.Degraded, "after an update it is still being counted where files are, so there may be more")
	}
	return l.found
}

// listed are the findings of an outlook so far.
type listed struct {
	outlook
	up      int             // nodes that take chunks
	away    []raid.NodeInfo // native ones that are not there
	told    bool            // somebody has said how healing goes
	tooFew  bool            // somebody has said that nodes are missing
	missing bool            // somebody has said who is away
	found   []raid.Finding
}

func (l *listed) add(h raid.Health, format string, args ...any) {
	l.found = append(l.found, raid.Finding{Health: h, Text: fmt.Sprintf(format, args...)})
}

// impairs is add for what keeps files from being read or stored.
func (l *listed) impairs(h raid.Health, format string, args ...any) {
	l.add(h, format, args...)
	l.found[len(l.found)-1].Impairs = true
}

// named says that the last finding begins with a node's name.
func (l *listed) named() { l.found[len(l.found)-1].Named = true }

// addFiles tells of files without all their copies.
func (l *listed) addFiles() {
	if l.all.None > 0 {
		l.impairs(raid.DataLost, "%s lost: no node of the array has a good copy of some part%s", files(l.all.None, l.all.AtMost), l.whichLost())
	}
	none, one := l.now.None-l.all.None, l.now.OneCopy-l.all.OneCopy // for want of nodes
	oneCopy := fmt.Sprintf("%s %s one copy", files(one, l.now.AtMost), have(one))
	switch unread := files(none, l.now.AtMost) + " can't be read"; {
	case none > 0 && one > 0:
		l.impairs(raid.AtRisk, "%s and %s; %s", unread, oneCopy, whoIsAway(l.away, needed(l.away)))
	case none > 0:
		l.impairs(raid.AtRisk, "%s; %s", unread, whoIsAway(l.away, needed(l.away)))
	case one > 0:
		h, how := l.oneCopyLeft()
		l.add(h, "%s; %s%s", oneCopy, whoIsAway(l.away, how), l.remedy(l.away, l.up))
	}
	l.missing = l.missing || none > 0 || one > 0
	if l.degraded > l.all.None {
		l.addFlawed()
	}
	if h := l.healing; !l.told && h.BlockedBy != "" {
		l.add(raid.Degraded, "copies can't be moved: %s", h.BlockedBy)
	} else if !l.told && h.PartsLeft > 0 && (l.all.None == 0 || h.BytesPerSecond > 0) { // what is lost is left, and nobody makes it
		l.add(raid.Healing, "copies are made or moved: %s", healingText(h))
	}
}

// oneCopyLeft is how bad it is that files have one copy for want of nodes, and how that
// ends without anybody's doing.
func (l *listed) oneCopyLeft() (h raid.Health, how string) {
	waits, lost := 0, 0
	for _, n := range l.away {
		if l.isLost[n.ID] {
			lost++
		} else {
			waits++
		}
	}
	blocked := ""
	if l.healing.BlockedBy != "" {
		blocked = "; copies can't be made now: " + l.healing.BlockedBy
	}
	switch {
	case lost > 0 && l.up < l.copies:
		l.told, l.tooFew = true, true
		return raid.AtRisk, blocked
	case lost > 0 && blocked != "":
		l.told = true
		return raid.AtRisk, blocked
	case waits > 0 || lost == 0:
		return raid.Degraded, ""
	}
	l.told = true
	if l.healing.PartsLeft == 0 {
		return raid.Healing, "; copies are made again on other nodes"
	}
	return raid.Healing, "; copies are made again on other nodes: " + healingText(l.healing)
}

// addFlawed tells of files with copies that are bad or on one node.
func (l *listed) addFlawed() {
	h := l.healing
	switch comes := slices.ContainsFunc(l.away, func(n raid.NodeInfo) bool { return !l.isLost[n.ID] }); {
	case l.up < l.copies && l.up+len(l.away) >= l.copies && comes:
		l.add(raid.Degraded, "%s degraded, to be repaired when enough nodes are up", files(l.degraded, false))
		l.told = true
	case l.up < l.copies:
		l.add(raid.AtRisk, "%s degraded: a second copy needs a second node that is up; add one, or start it", files(l.degraded, false))
		l.told, l.tooFew = true, true
	case h.BlockedBy != "" && !l.told:
		l.add(raid.AtRisk, "%s degraded, and copies can't be made now: %s", files(l.degraded, false), h.BlockedBy)
		l.told = true
	case h.PartsLeft > 0 && !l.told:
		l.add(raid.Healing, "%s degraded, being repaired: %s", files(l.degraded, false), healingText(h))
		l.told = true
	default:
		l.add(raid.Degraded, "%s degraded, to be repaired", files(l.degraded, false))
	}
}

// addNodes tells of nodes that are not as they should be.
func (l *listed) addNodes() {
	if len(l.away) > 0 && !l.missing {
		l.addAway()
	}
	for _, n := range l.nodes {
		if n.IsThere() && n.ReadOnly && n.Kind == raid.Native {
			l.add(raid.Degraded, "%s takes no writes, since its disk failed or is mounted read-only: see journalctl -u raid-node there", calledNode(n))
			l.named()
		}
	}
	switch {
	case len(l.nodes) == 0:
		l.impairs(raid.Degraded, "no node has joined yet, so nothing can be stored: sudo raidctl token create prints what to paste on each Pi")
	case l.up == 0:
		l.impairs(raid.AtRisk, "no node takes chunks now, so nothing can be stored")
	case l.up < l.copies && !l.degradedWrites:
		l.impairs(raid.AtRisk, "nothing can be stored: degraded_writes is off, and of %d nodes that this needs %d is up", l.copies, l.up)
	case l.up < l.copies && !l.tooFew:
		l.add(raid.Degraded, "files stored now get one copy: %d copies need as many nodes that are up; add one, or start it", l.copies)
	}
}

// addAway tells of nodes that are away while every file has its copies. One that is lost
// costs nothing any more: what it held is on others.
func (l *listed) addAway() {
	var waits, lost []raid.NodeInfo
	for _, n := range l.away {
		if l.isLost[n.ID] {
			lost = append(lost, n)
		} else {
			waits = append(waits, n)
		}
	}
	if len(waits) > 0 || l.now.Partial || l.now.AtMost {
		l.add(raid.Degraded, "%s", whoIsAway(l.away, "")+l.remedy(l.away, l.up))
	} else {
		l.add(raid.Healthy, "%s", whoIsAway(lost, ", and every file has its copies on other nodes")+l.remedy(lost, l.up))
	}
	l.named()
}

// whichLost names some of the files that are lost.
func (o outlook) whichLost() string {
	if len(o.lost) == 0 {
		return ""
	}
	var names []string
	for _, f := range o.lost[:min(len(o.lost), maxNamed)] {
		names = append(names, fmt.Sprintf("%d %s", f.ID, shortName(f.Filename)))
	}
	text := " (" + strings.Join(names, ", ")
	if o.all.None > int64(len(names)) {
		text += ", ...: raidctl ls --lost"
	}
	return text + ")"
}

// longName bounds the characters of a file's name in a sentence.
const longName = 40

// shortName quotes a file's name, which may be anything.
func shortName(name string) string {
	if runes := []rune(name); len(runes) > longName {
		name = string(runes[:longName-1]) + "…"
	}
	return strconv.Quote(name)
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

// healingText says how far healing is: "1,204 parts (3.1 GB) left, 48.0 MB/s, about 2 min".
func healingText(h raid.HealingProgress) string {
	text := fmt.Sprintf("%s parts (%s) left", grouped(h.PartsLeft), gigabytes(h.BytesLeft))
	if h.PartsLeft == 1 {
		text = fmt.Sprintf("1 part (%s) left", gigabytes(h.BytesLeft))
	}
	if h.BytesPerSecond > 0 {
		text += fmt.Sprintf(", %s/s", gigabytes(h.BytesPerSecond))
	}
	if h.SecondsLeft > 0 {
		text += ", about " + roughly(max(time.Duration(h.SecondsLeft)*time.Second, time.Minute))
	}
	return text
}

// maxNamed bounds the nodes that a sentence names.
const maxNamed = 4

// whoIsAway says which nodes are not there, for how long, and what to do about it.
func whoIsAway(away []raid.NodeInfo, advice string) string {
	if len(away) == 0 {
		return "start the nodes that have copies of them" // lab nodes
	}
	return listNodes(away, awayText) + advice
}

// needed tells what to do about nodes without which files can't be read. To remove one is
// no advice: a file may have its only good copy there.
func needed(away []raid.NodeInfo) string {
	if len(away) > 1 {
		return "; start them: files could be lost with them"
	}
	return "; start it: files could be lost with it"
}

// remedy tells what to do about nodes without which all files can be read. Removal is advised for a
// node alone that has been away for longer than grace, and only while others can take its copies.
// One that restarts would be thrown away with what it has.
func (o outlook) remedy(away []raid.NodeInfo, up int) string {
	it, gone := "it", 0
	if len(away) > 1 {
		it = "them"
	}
	for _, n := range away {
		if n.State == raid.Down && o.isLost[n.ID] {
			gone++
		}
	}
	switch {
	case len(away) == 0:
		return ""
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
	return "; start it, or: sudo raidctl node remove " + raid.NodeArg(away[0].ID, away[0].Name)
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

// calledNode is the name that people know a node by.
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
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
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
