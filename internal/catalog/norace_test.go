//go:build !race

package catalog

// underRace says that the race detector runs, with which SQLite is ten times slower. What
// tests leave out then is done where they run as 32-bit code.
const underRace = false
