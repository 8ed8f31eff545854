package raidctl

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// lifetime is a flag: how long a token lasts; 0: for ever, written never.
type lifetime time.Duration

const day = 24 * time.Hour

// maxDays keeps the sum within what a time.Duration can hold; the controller has
// the real limit.
const maxDays = 36500

var errLifetime = errors.New("write a length of time with its unit, such as 30m, 12h or 7d")

// String implements pflag.Value.
func (l *lifetime) String() string {
	switch d := time.Duration(*l); {
	case d == 0:
		return "never"
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	default:
		text := d.String() // 1h0m0s
		for _, zero := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(text, zero) {
				text = text[:len(text)-2]
			}
		}
		return text
	}
}

// Type implements pflag.Value.
func (l *lifetime) Type() string { return "time" }

// Set implements pflag.Value.
func (l *lifetime) Set(s string) error {
	if s == "never" {
		*l = 0
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n == 0 || n > maxDays {
			return errLifetime
		}
		*l = lifetime(time.Duration(n) * day)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second {
		return errLifetime
	}
	*l = lifetime(d)
	return nil
}
