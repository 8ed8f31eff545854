//go:build determined

package sim

import _ "unsafe" // for go:linkname

// simulated is there in the runtime that test/sim/determined makes.
//
//go:linkname simulated runtime.simulated
var simulated uint64

// seedRuntime has Go's own choices, as between channels that are ready, follow from a seed.
func seedRuntime(seed uint64) { simulated = seed }
