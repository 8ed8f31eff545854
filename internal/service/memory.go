package service

import "runtime/debug"

// The daemons hold mostly payload without pointers, which costs a collection nothing. So the heap
// may grow by little before it is collected: gcPercent, where Go's default lets it double. An idle
// heap is so small that a quarter of it would be collected all the time. ballast lets it grow by
// ballast*gcPercent/100 = 8 MiB at the least. It is never touched and so takes address space but no
// memory.
const (
	gcPercent = 25
	ballast   = 32 << 20
)

// LimitMemory makes the process return memory early, unless its user said
// otherwise by GOGC or GOMEMLIMIT. What it returns must be kept alive as long as
// that shall hold.
func LimitMemory(env []string) any {
	get := Getenv(env)
	if get("GOGC") != "" || get("GOMEMLIMIT") != "" {
		return nil
	}
	b := make([]byte, ballast)
	debug.SetGCPercent(gcPercent)
	return b
}
