package trash

import "sync/atomic"

// counters hold what Stats reports.
type counters struct{ expired, purged, room, undeleted atomic.Int64 }

// Stats counts files since the start of the process.
type Stats struct {
	Expired   int64 // went when their time was over
	Purged    int64 // went since a person wanted it
	Room      int64 // went since their room was needed
	Undeleted int64
}

// Stats returns the counters.
func (b *Bin) Stats() Stats {
	return Stats{Expired: b.stats.expired.Load(), Purged: b.stats.purged.Load(), Room: b.stats.room.Load(), Undeleted: b.stats.undeleted.Load()}
}
