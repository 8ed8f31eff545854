// Package pis holds the tests on hosts with a real systemd: what a Pi owner pastes from
// the README is run on them as it stands, from a signed package source over HTTPS, and
// then happens what happens to Pis, while a laptop goes on storing files. The hosts are
// those of test/nspawn; `make e2e` builds what they install and runs the tests.
package pis
