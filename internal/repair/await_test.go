package repair

import (
	"testing"
	"testing/synctest"
	"time"
)

// The room of a disk that is nearly full changes all the time. A long table of repairs is not
// read anew each time.
func TestRoomThatComesAndGoesHasNoLongTableReadAllTheTime(t *testing.T) {
	for name, c := range map[string]struct {
		read, least, most time.Duration
		changes           func(*Repairer, *view)
	}{
		"a long table":               {time.Second, scanRest * time.Second, scanRest*time.Second + lookEvery, func(_ *Repairer, v *view) { v.room++ }},
		"a short table":              {time.Millisecond, 0, lookEvery, func(_ *Repairer, v *view) { v.room++ }},
		"room while a part failed":   {time.Second, scanRest * time.Second, scanRest*time.Second + lookEvery, func(r *Repairer, v *view) { v.room++; r.noteNews(v); v.room-- }},
		"a node":                     {time.Hour, 0, lookEvery, func(_ *Repairer, v *view) { v.sign++ }},
		"a node while a part failed": {time.Hour, 0, 0, func(r *Repairer, v *view) { v.sign++; r.noteNews(v); v.sign-- }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := mender(&failing{}, nil)
				v, began := r.look(), time.Now()
				c.changes(r, v)
				r.awaitEvent(t.Context(), v, nil, pass{waits: true, read: c.read, ended: began})
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("another pass came after %v, and not after %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}
