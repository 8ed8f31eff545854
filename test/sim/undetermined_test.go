//go:build !determined

package sim

// seedRuntime leaves Go's own choices to chance; see determined_test.go.
func seedRuntime(uint64) {}
