package identity

import "path/filepath"

// Prepared reports whether an attempt to join or to rotate that broke off has
// left a key, with which [Prepare] goes on.
func Prepared(dir string, machine Machine) bool {
	next, err := readBundle(filepath.Join(dir, nextFile))
	return err == nil && !next.machine.differs(machine)
}
