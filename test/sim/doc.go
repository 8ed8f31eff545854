// Package sim runs a whole array in one process, in a time of its own, and breaks it in ways that a
// seed decides. Connections are cut or late. Nodes and the controller lose their power in the
// middle of a write. Disks fill up, fail and rot. A model of what clients were told checks what the
// array says. docs/simulation.md explains it.
//
// It is all tests; `make simulate` runs them.
package sim
