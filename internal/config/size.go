package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes, written as "512MiB" or, in bytes, as "4096" or
// 4096. It is never negative.
type ByteSize int64

// Powers of 1024.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
	TiB ByteSize = 1 << 40
)

type unit struct {
	name  string
	bytes int64
}

// The units that String tries, and UnmarshalText takes, largest first.
func units() []unit {
	return []unit{
		{"TiB", int64(TiB)}, {"TB", 1e12},
		{"GiB", int64(GiB)}, {"GB", 1e9},
		{"MiB", int64(MiB)}, {"MB", 1e6},
		{"KiB", int64(KiB)}, {"KB", 1e3},
		{"B", 1},
	}
}

const sizeExample = `write a size such as "512MiB", "4GB" or "0"`

// UnmarshalText reads a size. Its error tells what would be right.
func (s *ByteSize) UnmarshalText(text []byte) error {
	number, name := splitNumber(string(text))
	n, err := strconv.ParseInt(number, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is too large", text)
	}
	if err != nil || strings.HasPrefix(number, "+") {
		return fmt.Errorf("%q is no size: %s", text, sizeExample)
	}
	if name == "" {
		*s = ByteSize(n)
		return nil
	}
	for _, u := range units() {
		if name == u.name {
			if n > math.MaxInt64/u.bytes {
				return fmt.Errorf("%q is too large", text)
			}
			*s = ByteSize(n * u.bytes)
			return nil
		}
	}
	return badUnit(number, name)
}

func badUnit(number, name string) error {
	for _, u := range units() {
		if strings.EqualFold(strings.TrimSpace(name), u.name) {
			return fmt.Errorf("bad unit %q; did you mean %q?", name, number+u.name)
		}
	}
	if len(name) == 1 && strings.Contains("kmgt", strings.ToLower(name)) {
		letter := strings.ToUpper(name)
		return fmt.Errorf("bad unit %q; did you mean %q (powers of 1024) or %q (powers of 1000)?",
			name, number+letter+"iB", number+letter+"B")
	}
	return fmt.Errorf("bad unit %q; the units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB", name)
}

// splitNumber cuts a text after its leading digits.
func splitNumber(s string) (number, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

// String writes the size exactly, with the largest unit that divides it.
func (s ByteSize) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range units() {
		if int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes what UnmarshalText reads.
func (s ByteSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// WholeFile as stripe size makes the whole file one stripe, as in the
// assignment that raidpi began as.
const WholeFile StripeSize = -1

// StripeSize is the length of a full stripe in bytes, or [WholeFile], which is
// written "file".
type StripeSize int64

// UnmarshalText reads a size or "file".
func (s *StripeSize) UnmarshalText(text []byte) error {
	if string(text) == "file" {
		*s = WholeFile
		return nil
	}
	var b ByteSize
	if err := b.UnmarshalText(text); err != nil {
		return fmt.Errorf(`%w (or "file": the whole file is one stripe)`, err)
	}
	*s = StripeSize(b)
	return nil
}

// String writes what UnmarshalText reads.
func (s StripeSize) String() string {
	if s == WholeFile {
		return "file"
	}
	return ByteSize(s).String()
}

// MarshalText writes what UnmarshalText reads.
func (s StripeSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
