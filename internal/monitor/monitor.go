// Package monitor compares the array with its state before, and tells people what changed. It tells
// of nodes that went and came back, disks that fill up and copies of cards. It also tells of a
// catalog that is not the right one.
//
// It is given a [View] every few seconds, and does no I/O. What passes by itself within
// seconds, such as a node that is restarted, is no event. Each thing is told when it
// begins, and when it is over. What the events of earlier runs have told is not told
// again.
package monitor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// awayAfter is the time that a node must be away, or not answer, to be told of.
	awayAfter = 15 * time.Second
	// startPatience is the time after the start for which nodes are waited for.
	startPatience = time.Minute
	// stallAfter is the time that a disk must have hung to be told of.
	stallAfter = 10 * time.Second
)

// Config holds what a Monitor is made of.
type Config struct {
	Tell  raid.Tell
	Grace time.Duration          // after which a node that is away counts as lost
	Lost  func(raid.NodeID) bool // whether it does
}

// View describes the array at a moment.
type View struct {
	Nodes        []raid.NodeInfo // with their names
	Clones       []Clone
	Catalog      error       // wraps raid.ErrCatalogBehind or raid.ErrCatalogDamaged when it can't be believed
	LostFiles    int64       // of which some part has no good copy on any node
	LostExamples []raid.File // some of them
}

// Clone is a machine that is refused because another one has its node id.
type Clone struct {
	Node    raid.NodeID
	Address string
}

// Monitor remembers how things were. It is for one goroutine.
type Monitor struct {
	cfg     Config
	started time.Time
	nodes   map[raid.NodeID]*node
	clones  map[raid.NodeID]bool
	catalog error
	lost    int64
	looked  bool
}

// presence is the last word told of whether a node is there.
type presence int

const (
	unknown presence = iota
	there
	away
	lost
)

// node holds what is remembered of one.
type node struct {
	told      presence
	since     time.Time // it is not there; zero: it is
	awaySince time.Time // the same, of what was told
	version   string
	disk      map[raid.EventKind]bool // conditions that were told
	problem   bool
	seen      bool // by this look
	nearlyOut bool // it was told that it is nearly full, not yet that it is full
	wear      wear
}

// New makes a monitor that knows of nothing.
func New(cfg Config) *Monitor {
	return &Monitor{cfg: cfg, started: time.Now(), nodes: map[raid.NodeID]*node{}, clones: map[raid.NodeID]bool{}}
}

func (m *Monitor) node(id raid.NodeID) *node {
	n := m.nodes[id]
	if n == nil {
		n = &node{disk: map[raid.EventKind]bool{}}
		m.nodes[id] = n
	}
	return n
}

// Recall takes over what earlier runs have told, in order.
func (m *Monitor) Recall(events []raid.Event) {
	for _, e := range events {
		if e.Node == "" {
			continue
		}
		n := m.node(e.Node)
		n.wear.recall(e)
		switch e.Kind {
		case raid.NodeDown:
			n.told = away
		case raid.NodeLost:
			n.told = lost
		case raid.NodeUp, raid.NodeJoined:
			n.told = there
		case raid.DiskFull, raid.DiskReadOnly, raid.DiskStalled:
			n.disk[e.Kind] = true
			if e.Kind == raid.DiskFull {
				n.nearlyOut = strings.Contains(e.Text, "nearly full")
			}
		case raid.DiskGood:
			clear(n.disk)
			n.nearlyOut = false
		case raid.NodeRemoved:
			delete(m.nodes, e.Node)
		}
	}
}

// Look compares a view with the one before, and tells what changed.
func (m *Monitor) Look(v View) {
	now := time.Now()
	args := raid.NodeArgs(v.Nodes)
	for _, n := range m.nodes {
		n.seen = false
	}
	for _, info := range v.Nodes {
		n := m.node(info.ID)
		n.seen = true
		m.checkPresence(n, info, args[info.ID], now)
		if info.IsThere() {
			m.checkDisk(n, info)
			m.checkOthers(n, info)
			m.checkWear(n, info, args[info.ID], now)
		}
	}
	for id, n := range m.nodes {
		if !n.seen && m.looked { // it was removed, or never was given a chunk
			delete(m.nodes, id)
		}
	}
	m.checkClones(v)
	m.checkCatalog(v)
	m.looked = true
}

// checkPresence tells of a node that went or came.
func (m *Monitor) checkPresence(n *node, info raid.NodeInfo, arg string, now time.Time) {
	tell := func(kind raid.EventKind, advice, format string, args ...any) {
		m.cfg.Tell(raid.Event{Kind: kind, Node: info.ID, Text: fmt.Sprintf(format, args...), Advice: advice})
	}
	name := Called(info)
	if info.IsThere() {
		switch {
		case n.told == away || n.told == lost:
			text := name + " is back"
			if !n.awaySince.IsZero() {
				text += ", after " + roughly(now.Sub(n.awaySince))
			}
			tell(raid.NodeUp, "", "%s", text)
		case n.told == unknown && info.Recalled == "" && now.Sub(m.started) > startPatience:
			tell(raid.NodeUp, "", "%s is there, with %s free", name, gigabytes(info.FreeBytes))
		}
		n.told, n.since, n.awaySince = there, time.Time{}, time.Time{}
		return
	}
	if n.since.IsZero() {
		n.since = now
		if info.Seen {
			n.since = now.Add(-info.Silent)
		}
	}
	patience := awayAfter
	if !info.Seen {
		patience = startPatience
	}
	switch {
	case n.told != lost && info.Kind == raid.Native && m.cfg.Lost(info.ID):
		tell(raid.NodeLost, "start it again; if it never comes back: sudo raidctl node remove "+arg,
			"%s has been away for longer than %s, so its copies count as lost and are made again on other nodes", name, roughly(m.cfg.Grace))
		n.told = lost
	case (n.told == unknown || n.told == there) && now.Sub(n.since) >= patience:
		advice := "see whether it has power and network"
		if info.Kind == raid.Native {
			advice += fmt.Sprintf("; after %s its copies are made again on other nodes", roughly(m.cfg.Grace))
		}
		switch {
		case info.State == raid.Suspect:
			tell(raid.NodeDown, "see whether it is overloaded or its disk hangs (journalctl -k there), and restart it if it stays so", "%s does not answer", name)
		case !info.Seen:
			tell(raid.NodeDown, advice, "%s has not come since raid-controller started", name)
		default:
			tell(raid.NodeDown, advice, "%s is away", name)
		}
		n.told = away
	}
	if n.awaySince.IsZero() && n.told != there {
		n.awaySince = n.since
	}
}

// checkDisk tells of a disk that takes nothing, and when it does again.
func (m *Monitor) checkDisk(n *node, info raid.NodeInfo) {
	if info.Kind != raid.Native {
		return
	}
	name := Called(info)
	begin := func(kind raid.EventKind, text, advice string) {
		n.disk[kind] = true
		m.cfg.Tell(raid.Event{Kind: kind, Node: info.ID, Text: text, Advice: advice})
	}
	full, nearly := info.TotalBytes > 0 && info.FreeBytes <= 0, raid.NearlyFull(info.FreeBytes, info.TotalBytes)
	roomy := info.FreeBytes > info.TotalBytes/8 // more than nearly full, or it would be told again and again
	const more = "add a node, or delete files"
	switch {
	case full && (!n.disk[raid.DiskFull] || n.nearlyOut):
		n.nearlyOut = false
		begin(raid.DiskFull, "the disk of "+name+" is full: it gets nothing new", more)
	case nearly && !full && !n.disk[raid.DiskFull]:
		n.nearlyOut = true
		begin(raid.DiskFull, fmt.Sprintf("the disk of %s is nearly full: %s of %s are left", name, gigabytes(info.FreeBytes), gigabytes(info.TotalBytes)), more+" soon")
	}
	if info.ReadOnly && !n.disk[raid.DiskReadOnly] {
		begin(raid.DiskReadOnly, "the disk of "+name+" is read-only since a write failed: it gets nothing new, and what it has can be read",
			"look there at sudo journalctl -u raid-node and journalctl -k; replace the card or disk if it fails, else restart raid-node")
	}
	if info.DiskStall >= stallAfter && !n.disk[raid.DiskStalled] {
		begin(raid.DiskStalled, fmt.Sprintf("the disk of %s has not answered for %s", name, roughly(info.DiskStall)),
			"check its cable, its power and journalctl -k there")
	}
	if len(n.disk) > 0 && !info.ReadOnly && info.DiskStall == 0 && (roomy || !n.disk[raid.DiskFull]) {
		clear(n.disk)
		n.nearlyOut = false
		m.cfg.Tell(raid.Event{Kind: raid.DiskGood, Node: info.ID, Text: "the disk of " + name + " takes new files again"})
	}
}

// checkOthers tells of another version, and of what no sound node does.
func (m *Monitor) checkOthers(n *node, info raid.NodeInfo) {
	if info.Version != "" && info.Version != n.version {
		if n.version != "" {
			m.cfg.Tell(raid.Event{Kind: raid.Upgraded, Node: info.ID,
				Text: fmt.Sprintf("%s runs raid-node %s now, and ran %s before", Called(info), info.Version, n.version)})
		}
		n.version = info.Version
	}
	accused := info.Problem != "" && info.DiskStall == 0
	if accused && !n.problem {
		m.cfg.Tell(raid.Event{Kind: raid.NodeAccused, Node: info.ID, Text: Called(info) + ": " + info.Problem,
			Advice: "look at its journal: sudo journalctl -u raid-node"})
	}
	n.problem = accused
}

func (m *Monitor) checkClones(v View) {
	now := map[raid.NodeID]bool{}
	for _, c := range v.Clones {
		if now[c.Node] = true; m.clones[c.Node] {
			continue
		}
		name := string(c.Node)
		for _, n := range v.Nodes {
			if n.ID == c.Node {
				name = Called(n)
			}
		}
		m.cfg.Tell(raid.Event{Kind: raid.NodeClone, Node: c.Node,
			Text:   fmt.Sprintf("a second machine, at %s, says that it is %s, and is refused: two Pis run from copies of one card", c.Address, name),
			Advice: "on the copy run sudo raid-node reset-identity, then join it"})
	}
	m.clones = now
}

func (m *Monitor) checkCatalog(v View) {
	if v.LostFiles > m.lost && m.looked { // what was lost before the start was told then
		e := raid.Event{Kind: raid.FileLost,
			Text:   fmt.Sprintf("%d more files have lost all good copies of a part%s", v.LostFiles-m.lost, some(v.LostExamples)),
			Advice: "bring back nodes that are away or were removed, if there are any; raidctl status tells which files"}
		if v.LostFiles-m.lost == 1 {
			e.Text = "a file has lost all good copies of a part" + some(v.LostExamples)
		}
		m.cfg.Tell(e)
	}
	m.lost = v.LostFiles
	was, now := m.catalog, v.Catalog
	m.catalog = now
	for _, k := range []struct {
		err    error
		kind   raid.EventKind
		advice string
	}{
		{raid.ErrCatalogBehind, raid.CatalogBehind, "stop raid-controller, put its newest catalog in place, start it again; catalog.md says how (Backup)"},
		{raid.ErrCatalogDamaged, raid.CatalogDamaged, "put the newest backup of the catalog in its place; catalog.md says how (A damaged catalog)"},
	} {
		if errors.Is(now, k.err) && !errors.Is(was, k.err) {
			m.cfg.Tell(raid.Event{Kind: k.kind, Text: now.Error(), Advice: k.advice})
		}
	}
}

// some names files.
func some(files []raid.File) string {
	if len(files) == 0 {
		return ""
	}
	var out []string
	for _, f := range files[:min(len(files), 4)] {
		out = append(out, fmt.Sprintf("%d (%s)", f.ID, raid.Quoted(f.Filename)))
	}
	return "; such files are " + strings.Join(out, ", ")
}
