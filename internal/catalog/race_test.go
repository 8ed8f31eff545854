//go:build race

package catalog

// underRace says that the race detector runs, with which all is slower, SQLite ten times
// unless it is left out. What tests leave out then is done where they run without it.
const underRace = true
