package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as "10s", "15m", "1h30m" or "30d". It is
// never negative.
type Duration time.Duration

// Day is 24 hours.
const Day = Duration(24 * time.Hour)

var errDuration = errors.New(`write a duration such as "10s", "15m", "2h" or "30d"`)

// UnmarshalText reads a duration. Its error tells what would be right.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "0" {
		*d = 0
		return nil
	}
	number, rest := splitNumber(s)
	if number != "" && rest == "" {
		return fmt.Errorf("%q has no unit: %w", s, errDuration)
	}
	var days int64
	if number != "" && strings.HasPrefix(rest, "d") {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > int64(math.MaxInt64/Day) {
			return fmt.Errorf("%q is too long", s)
		}
		days, s = n, rest[1:]
	}
	var part time.Duration
	if s != "" || days == 0 && number == "" {
		var err error
		if part, err = time.ParseDuration(s); err != nil || s[0] == '+' || s[0] == '-' {
			return fmt.Errorf("%q is no duration: %w", text, errDuration)
		}
	}
	total := time.Duration(days) * time.Duration(Day)
	if part > math.MaxInt64-total {
		return fmt.Errorf("%q is too long", text)
	}
	*d = Duration(total + part)
	return nil
}

// String writes the duration exactly: several whole days as "30d", one as "24h", the
// rest as Go does without zero parts.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	if d%Day == 0 && d != Day {
		return strconv.FormatInt(int64(d/Day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
