package allowance

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestABucketAllowsABurstAndThenItsRate(t *testing.T) {
	r := Rate{Burst: 3, Every: 10 * time.Second}
	var b Bucket
	now := time.Unix(1000, 0)
	took := 0
	for i := range 600 { // a minute of one every 100 ms
		at := now.Add(time.Duration(i) * 100 * time.Millisecond)
		if b.Take(r, at) {
			took++
		} else if w := b.Wait(r, at); w <= 0 || w > r.Every {
			t.Fatalf("after %v it says to wait %v", at.Sub(now), w)
		}
	}
	if took != 3+5 {
		t.Errorf("%d in a minute, want 8", took)
	}
	later := now.Add(time.Hour)
	if !b.Full(r, later) || b.Full(r, now.Add(time.Minute)) {
		t.Error("it is full when it is not, or not when it is")
	}
	for i := range 3 {
		if !b.Take(r, later) {
			t.Errorf("after an hour there are %d", i)
		}
	}
	if b.Take(r, later) {
		t.Error("an hour of rest allows more than the burst")
	}
}

func TestOnePeersFloodTakesNothingFromAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Rate{Burst: 2, Every: time.Minute})
		for range 1000 {
			l.Take("flooder")
		}
		if refused, ok := l.Take("flooder"); ok || refused != 999 {
			t.Errorf("flooder: %v after %d refusals", ok, refused)
		}
		if _, ok := l.Take("honest"); !ok {
			t.Error("the other one gets nothing")
		}
		time.Sleep(time.Minute)
		if refused, ok := l.Take("flooder"); !ok || refused != 999 {
			t.Errorf("a minute later: %v, %d refused before", ok, refused)
		}
		// Names are cheap: all that have no room share one bucket, and memory is bounded.
		taken := 0
		for i := range 10 * maxPeers {
			if _, ok := l.Take(fmt.Sprint("stranger", i)); ok {
				taken++
			}
		}
		if taken > maxPeers+2 || len(l.peers) > maxPeers {
			t.Errorf("%d taken under made-up names, %d peers remembered", taken, len(l.peers))
		}
		time.Sleep(time.Hour)
		if _, ok := l.Take("another"); !ok || len(l.peers) != 1 {
			t.Errorf("those who rest are not forgotten: %d", len(l.peers))
		}
	})
}

func TestAPeerDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(NewLogs(slog.NewTextHandler(&out, nil)))
		of := log.With("node", "bad", "session", "s")
		for i := range 6000 { // a minute
			of.Info("node up")
			log.Warn("disk is read-only", "node", "bad")
			log.Info("connection ended", "addr", fmt.Sprint("10.0.0.9:", 1000+i))
			if i%100 == 0 {
				log.Info("node up", "node", "good") // one that restarts for good reasons, 60 times
				log.Info("file uploaded", "file", i)
			}
			time.Sleep(10 * time.Millisecond)
		}
		for line, most := range map[string]int{
			`"node up" node=bad`: 30, `read-only" node=bad`: 30, "10.0.0.9": 30, `"node up" node=good`: 30, "file uploaded": 60,
		} {
			if n := strings.Count(out.String(), line); n > most || n < 20 {
				t.Errorf("%d lines of %s, want 20 to %d", n, line, most)
			}
		}
		if !strings.Contains(out.String(), "not_logged=") {
			t.Error("nothing tells that lines are missing")
		}
	})
}
