package service

import (
	"runtime/debug"
	"time"
)

// oldest is a day before every build: that of the first code that asks.
var oldest = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// Built is the day on which the program's sources were committed: what the build
// linked in, as 2026-11-25, else what the Go toolchain noted. A clock that says an
// earlier one is wrong.
func Built(linked string) time.Time {
	if t, err := time.Parse(time.DateOnly, linked); err == nil {
		return t
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key != "vcs.time" {
				continue
			}
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return t
			}
		}
	}
	return oldest
}
