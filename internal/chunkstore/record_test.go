package chunkstore_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
)

// records are the small files that others keep with the chunks.
var records = map[string]struct {
	read func(*chunkstore.Store) (string, error)
	save func(*chunkstore.Store, string) error
}{
	"raid-node.scrub": {(*chunkstore.Store).ScrubRecord, (*chunkstore.Store).SaveScrubRecord},
	"raid-node.wear":  {(*chunkstore.Store).WearRecord, (*chunkstore.Store).SaveWearRecord},
}

func TestARecordFailsAtEveryCall(t *testing.T) {
	for file, rec := range records {
		for _, op := range []faultfs.Op{faultfs.Create, faultfs.Write, faultfs.Sync, faultfs.Rename, faultfs.SyncDir} {
			for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
				t.Run(fmt.Sprint(file, op, cause), func(t *testing.T) {
					s, f := newFaulty(t, chunkstore.Config{})
					if err := rec.save(s, "before\n"); err != nil {
						t.Fatal(err)
					}
					f.OnCall(failing(op, "", cause))
					want := raid.ErrReadOnly
					if cause == syscall.ENOSPC && op != faultfs.Sync && op != faultfs.SyncDir {
						want = raid.ErrNoSpace
					}
					wantErr(t, rec.save(s, "after\n"), want)
					f.OnCall(nil)
					text, err := rec.read(s)
					if err != nil || text != "before\n" && (text != "after\n" || op != faultfs.SyncDir) {
						t.Errorf("the record is %q, %v", text, err)
					}
				})
			}
		}
		s, f := newFaulty(t, chunkstore.Config{})
		if text, err := rec.read(s); text != "" || err != nil {
			t.Errorf("without a record: %q, %v", text, err)
		}
		if err := rec.save(s, "x\n"); err != nil {
			t.Fatal(err)
		}
		f.OnCall(failing(faultfs.Read, file, syscall.EIO))
		if _, err := rec.read(s); err == nil {
			t.Errorf("%s that can't be read is none", file)
		}
		f.OnCall(nil)
	}
}
