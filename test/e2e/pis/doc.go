// Package pis holds the tests on hosts with a real systemd. The lines that a Pi owner pastes from
// the README are run on them as they stand, from a signed package source over HTTPS. Then happens
// what happens to Pis, while a laptop goes on storing files. The hosts are those of test/nspawn;
// `make e2e` builds what they install and runs the tests.
package pis
