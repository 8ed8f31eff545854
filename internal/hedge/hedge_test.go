package hedge

import (
	"testing"
	"time"
)

func TestTheHedgeDelayFollowsRecentReads(t *testing.T) {
	var l Latency
	for range kept {
		l.Add(40 * time.Millisecond)
	}
	if l.p95 != 40*time.Millisecond {
		t.Errorf("p95 of equal reads is %v", l.p95)
	}
	for range 8 {
		l.Add(time.Second)
	}
	if l.p95 != time.Second {
		t.Errorf("p95 is %v although an eighth of the reads took a second", l.p95)
	}
	for range kept {
		l.Add(time.Millisecond)
	}
	if l.p95 != time.Millisecond {
		t.Errorf("p95 remembers %v", l.p95)
	}
}

func TestTheDelayStaysWithinItsBounds(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: Unknown, time.Microsecond: Min, 40 * time.Millisecond: 40 * time.Millisecond, time.Minute: Max} {
		var l Latency
		for range kept {
			if took > 0 {
				l.Add(took)
			}
		}
		if got := l.After(); got != want {
			t.Errorf("after reads of %v it is %v, want %v", took, got, want)
		}
	}
}

// What takes long for everybody is no exception.
func TestTooLongIsAMultipleOfWhatIsUsual(t *testing.T) {
	var l Latency
	if l.Exceeded(tooLongUnknown) || !l.Exceeded(tooLongUnknown+1) {
		t.Errorf("of an unknown node %v is too long", tooLongUnknown)
	}
	for range few {
		l.Add(10 * time.Second)
	}
	if l.Exceeded(tooLongFactor*10*time.Second) || !l.Exceeded(tooLongFactor*10*time.Second+1) {
		t.Error("the node's own reads do not count")
	}
}

func TestOneReadInTwentyMayAskASecondNode(t *testing.T) {
	var b Budget
	if b.Take() {
		t.Error("one may, and there was no read")
	}
	granted := 0
	for range 10_000 {
		b.Read()
		if b.Take() {
			granted++
		}
	}
	if granted > 10_000*share+Burst || granted < 10_000*share {
		t.Errorf("%d of 10,000 reads may", granted)
	}
}
