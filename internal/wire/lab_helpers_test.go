package wire

import (
	"bytes"
	"fmt"
	mrand "math/rand/v2"

	"github.com/raidpi/raidpi/internal/raid"
)

// labName is a random chunk name of a lab controller's kind.
func labName() raid.ChunkName {
	return raid.ChunkName(fmt.Sprintf("L%012d", mrand.Int64N(1e12)))
}

// want makes an accept function.
func want(data []byte) func([]byte) bool {
	return func(got []byte) bool { return bytes.Equal(got, data) }
}
