package wire

import (
	"encoding/binary"
	"io"
	"time"
)

// backoff gives pauses that double from min to max. Each is shortened at random by up to a half, so
// that nodes that lost their controller together do not return together.
type backoff struct {
	min, max, current time.Duration
	random            io.Reader
}

func newBackoff(min, max time.Duration, random io.Reader) *backoff {
	return &backoff{min: min, max: max, current: min, random: random}
}

func (b *backoff) reset() { b.current = b.min }

func (b *backoff) next() time.Duration {
	var r [4]byte
	_, _ = io.ReadFull(b.random, r[:]) // without randomness there is no jitter
	cut := b.current / 2 * time.Duration(binary.BigEndian.Uint32(r[:])>>16) / (1 << 16)
	d := b.current - cut
	b.current = min(2*b.current, b.max)
	return d
}
