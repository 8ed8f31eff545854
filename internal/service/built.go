package service

import "time"

// source is a day on which this source was worked on, the last that is known. A clock
// that is before it is wrong, whatever the program was built from.
const source = "2026-11-01"

// Built is the date of the program's build as the linker set it (YYYY-MM-DD), or
// if it set none a date before it. It is for telling people that a clock is
// wrong.
func Built(linked string) time.Time {
	if t, err := time.Parse(time.DateOnly, linked); err == nil {
		return t
	}
	t, _ := time.Parse(time.DateOnly, source) // a date
	return t
}
