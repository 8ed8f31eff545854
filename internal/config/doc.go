// Package config reads the two configuration files, raid-controller.toml and
// raid-node.toml, strictly.
//
// A value comes from the first of these that names it: an environment variable
// (RAID_CONTROLLER_HTTP_LISTEN is [http] listen), the last of the *.toml files of
// the folder conf.d beside the file that names it, the file, the default. An
// unknown key or variable, a value of the wrong kind or out of range, a size or
// duration with a bad unit: each is a [Problem] with file, line and column, or
// the variable's name, and one [*Error] reports all of them at once (values that
// are each fine but contradict each other only once nothing else is wrong).
// Nothing is corrected silently.
//
// # Names
//
// The keys are a contract; docs/configuration.md describes each. Sizes take
// B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024);
// durations take ms, s, m, h and d.
//
// # Limits
//
// A file is at most 64 KiB. All values fit a signed 64-bit integer.
package config
