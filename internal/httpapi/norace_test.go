//go:build !race

package httpapi

// underRace says that the race detector runs, which makes bytes 50 times dearer.
const underRace = false
