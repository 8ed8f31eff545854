// Package e2e holds the end-to-end tests. Each starts an array of real processes, does to it what
// happens to real arrays, and checks one of the promises that README makes. The tests are named
// after those promises.
//
// The daemons are built once, see TestMain. When the tests run with the race detector, so do the
// daemons of the tests that kill and freeze them. A race that a daemon reports fails the test.
package e2e
