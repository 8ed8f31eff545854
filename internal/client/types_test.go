package client

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestRecordsHaveTheChunksOfAsManyPartsAsTheirLevel(t *testing.T) {
	const text = `{"id":7,"filename":"a\u003cb","size":5,"content_type":"text/plain","created":"2026-01-02 03:04:05","sha256":"00","stripes":1,"degraded":false,"lab":false,"verified":"","part1_filenames":"a,b","part2_filenames":"","part3_filenames":"c","part5_filenames":"no part 4"}`
	var f File
	if err := json.Unmarshal([]byte(text), &f); err != nil || f.ID != 7 || f.Filename != "a<b" || !slices.Equal(f.Parts, []string{"a,b", "", "c"}) {
		t.Fatalf("%+v, %v", f, err)
	}
	again, err := f.MarshalJSON()
	want := strings.TrimSuffix(text, `,"part5_filenames":"no part 4"}`) + "}"
	if want = strings.Replace(want, `\u003c`, "<", 1); err != nil || string(again) != want {
		t.Errorf("%s, %v\nwant %s", again, err, want)
	}
	for _, bad := range []string{`7`, `{"id":"x"}`, `{"part1_filenames":3}`} {
		if err := json.Unmarshal([]byte(bad), &f); err == nil {
			t.Errorf("%s is a record", bad)
		}
	}
}
