// Package config reads the two configuration files, raid-controller.toml and
// raid-node.toml, strictly.
//
// A value comes from the first of these that names it:
//
//  1. an environment variable (RAID_CONTROLLER_HTTP_LISTEN is [http] listen)
//  2. the last of the *.toml files that names it, in the folder conf.d beside the file
//  3. the file
//  4. the default
//
// A [Problem] is an unknown key or variable, or a value of the wrong kind or out of range. It is
// also a size or duration with a bad unit. It has file, line and column, or the variable's name.
// One [*Error] reports all of them at once. Values that are each fine but contradict each other are
// reported only once nothing else is wrong. Nothing is corrected silently.
//
// # Names
//
// The keys are a contract; docs/configuration.md describes each. Sizes take
// B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024).
// Durations take ms, s, m, h and d.
//
// # Limits
//
// A file is at most 64 KiB. All values fit a signed 64-bit integer.
package config
