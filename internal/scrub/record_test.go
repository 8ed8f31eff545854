package scrub

import (
	"errors"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func aRecord() *record {
	key := raid.ChunkKey{Upload: raid.UploadID{1, 2, 3}, Stripe: 4, Part: 1, Attempt: 2}
	return &record{
		Disk: "disk", Clock: 1 << 40, Told: true, Every: 604800, Pass: 3, Running: true, Began: 1 << 39, BeganAt: 1_800_000_000,
		After: key.Name(), Chunks: 7, Bytes: 1 << 50, Bad: 1, Last: ended{Number: 2, Began: 5, Ended: 9, Chunks: 6, Bytes: 1 << 49},
	}
}

func TestTheRecordReadsAsItWasWritten(t *testing.T) {
	r := aRecord()
	got, err := parseRecord(r.format())
	if err != nil || *got != *r {
		t.Fatalf("%+v, %v", got, err)
	}
	text := r.format()
	for i := range text {
		b := []byte(text)
		b[i] ^= 1
		if _, err := parseRecord(string(b)); !errors.Is(err, raid.ErrCorrupt) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := parseRecord(text[:i]); !errors.Is(err, raid.ErrCorrupt) {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
}

func TestARecordThatCantBeTrueIsRefused(t *testing.T) {
	for name, change := range map[string]func(*record){
		"negative":        func(r *record) { r.Chunks = -1 },
		"beyond all":      func(r *record) { r.Bytes = most + 1 },
		"in the future":   func(r *record) { r.Began = r.Clock + 1 },
		"ended later":     func(r *record) { r.Last.Ended = r.Clock + 1 },
		"ended before":    func(r *record) { r.Last.Began = r.Last.Ended + 1 },
		"no chunk's name": func(r *record) { r.After = "../../etc/passwd" },
	} {
		r := aRecord()
		change(r)
		if _, err := parseRecord(r.format()); !errors.Is(err, raid.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(aRecord().format())
	f.Add((&record{}).format())
	f.Add("{} 00000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRecord(text)
		if err != nil {
			if !errors.Is(err, raid.ErrCorrupt) {
				t.Fatal(err)
			}
			// The same with a checksum that is right.
			line := text
			if i := strings.LastIndexByte(text, ' '); i >= 0 {
				line = text[:i]
			}
			if r, err = parseRecord(raid.SealLine(line)); err != nil {
				return
			}
		}
		again, err := parseRecord(r.format())
		if err != nil || *again != *r {
			t.Fatalf("%+v reads as %+v, %v", r, again, err)
		}
	})
}
