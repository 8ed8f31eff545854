package service

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version returns a program's version. It is the one that the build linked in, else the one that
// the Go toolchain noted, else the commit.
func Version(linked string) string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "dev-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "dev"
}

// VersionLine returns the line that --version prints.
func VersionLine(program, linked string) string {
	return fmt.Sprintf("%s %s (%s, %s/%s)", program, Version(linked), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
