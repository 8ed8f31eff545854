package controller

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/relocate"
)

// metrics reports the array when it is asked to; nothing is counted twice, the
// numbers live where they arise.
type metrics struct{ c *Controller }

var (
	descNodes    = prometheus.NewDesc("raidpi_nodes", "Nodes by kind and state.", []string{"kind", "state"}, nil)
	descFree     = prometheus.NewDesc("raidpi_node_free_bytes", "Free bytes of a native node beyond its reserve.", []string{"node"}, nil)
	descTotal    = prometheus.NewDesc("raidpi_node_total_bytes", "Size of a native node's disk.", []string{"node"}, nil)
	descBad      = prometheus.NewDesc("raidpi_node_bad_chunks", "Chunks that a native node has found corrupt and that are still there.", []string{"node"}, nil)
	descScrubbed = prometheus.NewDesc("raidpi_node_scrubbed_bytes_total", "Bytes of chunks that a native node's scrub has read since the node's start.", []string{"node"}, nil)
	descRoom     = prometheus.NewDesc("raidpi_room_bytes", "Bytes that files can still take, with their copies on as many nodes.", nil, nil)
	descFiles    = prometheus.NewDesc("raidpi_files", "Files in the catalog.", nil, nil)
	descBytes    = prometheus.NewDesc("raidpi_file_bytes", "Bytes of all files in the catalog, copies not counted.", nil, nil)
	descDegraded = prometheus.NewDesc("raidpi_degraded_files", "Files with too few good copies on distinct nodes.", nil, nil)
	descAtRisk   = prometheus.NewDesc("raidpi_files_at_risk", "Files of which some part has one good copy on a node that is there.", nil, nil)
	descNoCopy   = prometheus.NewDesc("raidpi_files_unreadable", "Files of which some part has no good copy on a node that is there.", nil, nil)
	descHealing  = prometheus.NewDesc("raidpi_healing_parts", "Parts of which copies are to be made, moved or removed.", nil, nil)
	descHealLeft = prometheus.NewDesc("raidpi_healing_bytes", "Bytes of these parts.", nil, nil)
	descHealRate = prometheus.NewDesc("raidpi_healing_bytes_per_second", "Bytes of copies made lately, per second.", nil, nil)
	descHealHeld = prometheus.NewDesc("raidpi_healing_blocked", "1 when healing can't go on until a person acts.", nil, nil)
	descToMove   = prometheus.NewDesc("raidpi_moving_bytes", "Bytes of good copies that are yet to move to other nodes, about, by why.", []string{"why"}, nil)
	descDraining = prometheus.NewDesc("raidpi_node_draining", "1 while a person wants a native node to hold nothing.", []string{"node"}, nil)
	descDrained  = prometheus.NewDesc("raidpi_node_drained", "1 when nothing rests on a draining native node any more.", []string{"node"}, nil)
	descHealth   = prometheus.NewDesc("raidpi_health", "1 for the word that says how the array is, 0 for the others.", []string{"health"}, nil)
	descTrash    = prometheus.NewDesc("raidpi_trash_files", "Deleted files that can be put back.", nil, nil)
	descTrashed  = prometheus.NewDesc("raidpi_trash_bytes", "Bytes of deleted files that can be put back, copies not counted.", nil, nil)
	descRemovals = prometheus.NewDesc("raidpi_removals_queued", "Chunks that wait for their removal from a node.", nil, nil)
	descCommit   = prometheus.NewDesc("raidpi_catalog_commit", "The catalog's last durable commit number.", nil, nil)
	descBuffers  = prometheus.NewDesc("raidpi_buffer_bytes", "Bytes of payload in memory.", nil, nil)
	descBehind   = prometheus.NewDesc("raidpi_catalog_behind", "1 when a node has seen a newer catalog than this one.", nil, nil)

	descUploads   = prometheus.NewDesc("raidpi_uploads_total", "Uploads by result.", []string{"result"}, nil)
	descDownloads = prometheus.NewDesc("raidpi_downloads_total", "Downloads begun.", nil, nil)
	descDeletes   = prometheus.NewDesc("raidpi_deletes_total", "Files deleted.", nil, nil)
	descGone      = prometheus.NewDesc("raidpi_trash_gone_total", "Deleted files that went for good, by why.", []string{"why"}, nil)
	descMoves     = prometheus.NewDesc("raidpi_copies_moved_total", "Good copies that were moved to other nodes, by why.", []string{"why"}, nil)
	descMoveBytes = prometheus.NewDesc("raidpi_copies_moved_bytes_total", "Bytes of good copies that were moved to other nodes, by why.", []string{"why"}, nil)
	descUndeletes = prometheus.NewDesc("raidpi_undeletes_total", "Files put back.", nil, nil)
	descMoved     = prometheus.NewDesc("raidpi_payload_bytes_total", "Bytes of files, by direction.", []string{"direction"}, nil)
	descReplaced  = prometheus.NewDesc("raidpi_copies_placed_again_total", "Copies of uploads that were placed again because a node failed.", nil, nil)
	descHedged    = prometheus.NewDesc("raidpi_reads_hedged_total", "Reads that asked a second node because the first was slow.", nil, nil)
	descBadCopies = prometheus.NewDesc("raidpi_bad_copies_total", "Copies found bad while reading, by what was wrong.", []string{"fault"}, nil)
)

// Describe implements prometheus.Collector.
func (m metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// metricsTimeout bounds how long a scrape may wait for the catalog.
const metricsTimeout = 2 * time.Second

// Collect implements prometheus.Collector.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	m.nodes(gauge, count)
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	if n, err := m.c.catalog.Counts(ctx); err == nil {
		gauge(descFiles, float64(n.Files))
		gauge(descBytes, float64(n.Bytes))
		gauge(descDegraded, float64(n.Degraded))
		gauge(descTrash, float64(n.Trash.Files))
		gauge(descTrashed, float64(n.Trash.Bytes))
		gauge(descRemovals, float64(n.Removals))
	}
	m.health(ctx, gauge)
	gauge(descCommit, float64(m.c.catalog.Commit()))
	gauge(descBuffers, float64(m.c.pool.InUse()))
	gauge(descBehind, is(m.c.members.StaleCatalog() != nil))
	s := m.c.objects.Stats()
	count(descUploads, s.Uploads, "stored")
	count(descUploads, s.UploadsFailed, "failed")
	count(descDownloads, s.Downloads)
	count(descDeletes, s.Deletes)
	gone := m.c.trash.Stats()
	count(descGone, gone.Expired, "expired")
	count(descGone, gone.Purged, "purged")
	count(descGone, gone.Room, "room")
	count(descUndeletes, gone.Undeleted)
	moves := m.c.relocate.Totals()
	for _, why := range []relocate.Reason{relocate.Drain, relocate.Zone, relocate.Balance} {
		count(descMoves, moves[why].Parts, string(why))
		count(descMoveBytes, moves[why].Bytes, string(why))
	}
	count(descMoved, s.BytesIn, "in")
	count(descMoved, s.BytesOut, "out")
	count(descReplaced, s.Replaced)
	count(descHedged, s.Hedged)
	count(descBadCopies, s.Corrupt, "corrupt")
	count(descBadCopies, s.Missing, "missing")
}

func (m metrics) health(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	_, now := m.c.reach(m.c.members.Nodes())
	gauge(descAtRisk, float64(now.OneCopy))
	gauge(descNoCopy, float64(now.None))
	p := m.c.repair.Progress()
	gauge(descHealing, float64(p.PartsLeft))
	gauge(descHealLeft, float64(p.BytesLeft))
	gauge(descHealRate, float64(p.BytesPerSecond))
	gauge(descHealHeld, is(p.BlockedBy != ""))
	drain, zone, balance := m.c.relocate.Left()
	gauge(descToMove, float64(drain.Bytes), string(relocate.Drain))
	gauge(descToMove, float64(zone.Bytes), string(relocate.Zone))
	gauge(descToMove, float64(balance.Bytes), string(relocate.Balance))
	word := m.c.assess(ctx).Health
	for _, h := range raid.Healths() {
		gauge(descHealth, is(h == word), string(h))
	}
}

// is is 1 for yes, as metrics have it.
func is(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (m metrics) nodes(gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int64, ...string)) {
	type group struct {
		kind  raid.NodeKind
		state raid.NodeState
	}
	groups := map[group]int{}
	for _, n := range m.c.members.Nodes() {
		groups[group{n.Kind, n.State}]++
		if n.Kind == raid.Native {
			gauge(descFree, float64(n.FreeBytes), string(n.ID))
			gauge(descTotal, float64(n.TotalBytes), string(n.ID))
			gauge(descBad, float64(n.Bad), string(n.ID))
			count(descScrubbed, n.Scrub.Read, string(n.ID))
			m.wear(n, gauge, count)
			gauge(descDraining, is(n.Draining), string(n.ID))
			gauge(descDrained, is(n.Drained), string(n.ID))
		}
	}
	gauge(descRoom, float64(m.c.room()))
	for g, n := range groups {
		gauge(descNodes, float64(n), string(g.kind), string(g.state))
	}
}
