package config

import (
	"math"
	"testing"
	"time"
)

func TestSizesSurviveTheRoundTrip(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "1": 1, "1B": 1, "1KB": 1000, "1KiB": 1024, "1500": 1500, "64MiB": 64 << 20, "3GB": 3e9, "2TiB": 2 << 40,
		"5TB": 5e12, "9223372036854775807": math.MaxInt64, "0GiB": 0,
	} {
		var s, again ByteSize
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q is written %q, which is %d, %v", text, s, again, err)
		}
	}
}

func TestDurationsSurviveTheRoundTrip(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "10s": 10 * time.Second, "500ms": 500 * time.Millisecond, "15m": 15 * time.Minute, "1h30m": 90 * time.Minute,
		"30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "1h0m1s": 3601 * time.Second, "100m": 100 * time.Minute,
	} {
		var d, again Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q is %v, %v; want %v", text, d, err, want)
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q is written %q, which is %v, %v", text, d, again, err)
		}
	}
	for _, text := range []string{"", "d", "s", "1", "1 d", "1d-1s", "1d+1s", "+1s", "--1s", "1dd", "200000d", "106751d24h", "99999999999999999999d", "1d9999999h"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, d)
		}
	}
}

func TestNearestFindsTyposAndNothingElse(t *testing.T) {
	words := []string{"listen", "plaintext", "auth", "names", "max_body", "max_requests"}
	for word, want := range map[string]string{
		"lisen": "listen", "litsen": "listen", "plain_text": "plaintext", "aut": "auth", "max_request": "max_requests",
		"maxbody": "max_body", "colour": "", "": "", "x": "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
