package liar

import (
	"github.com/raidpi/raidpi/internal/raid"
)

// MadeUp returns n names, in order, of chunks that never were. They are of an upload of the given
// run, after the given name, which is one of them or empty.
func MadeUp(run byte, after string, n int) (names []string) {
	k := raid.ChunkKey{Upload: raid.UploadID{3: run, 4: 'm', 15: 'u'}, Part: 1, Attempt: 1}
	if last, err := raid.ParseChunkName(raid.ChunkName(after)); err == nil {
		k.Stripe = last.Stripe + 1
	}
	for range n {
		names = append(names, string(k.Name()))
		k.Stripe++
	}
	return names
}
