// Package repository tests what a release consists of, apart from what is in the packages. It tests
// the signed apt repository, asked by a real apt, and the archives, lists of modules and checksums.
// It runs the programs and scripts of packaging/ as make does. It needs root and Debian: make
// test-system.
package repository
