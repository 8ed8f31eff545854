// Package house holds the architecture as tests: what may import what, and how
// large things may grow. It reads the source; it runs nothing of it.
package house
