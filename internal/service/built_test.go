package service

import (
	"testing"
	"time"
)

func TestDayOfTheBuild(t *testing.T) {
	if got := Built("2027-03-04"); got.Format(time.DateOnly) != "2027-03-04" {
		t.Errorf("%v", got)
	}
	for _, linked := range []string{"", "soon", "2027-13-01"} {
		if got := Built(linked); got.Format(time.DateOnly) != source {
			t.Errorf("%q: %v", linked, got)
		}
	}
}
