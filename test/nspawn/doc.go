// Package nspawn makes hosts with a real systemd, for tests. systemd-nspawn(1) boots them from one
// cached Debian root. Each has an address on a switch of their own and a root that keeps what is
// written to it. Its disk for /var/lib can have its power cut. What can happen to a Pi can be done
// to a host. Its plug is pulled, its cable is cut in one or both directions, it hangs. Its disk
// fills, fails, or forgets what was not synced.
//
// A Lab is the switch with its hosts, in a network namespace of its own. Nothing in it reaches the
// network of the machine, nor the other way round. Everything that a lab makes carries its id: the
// folder, the network namespace, the control groups. Close removes all of it. The next New removes
// what a killed test left behind.
//
// It needs root, what ./setup installs, and the freezer and systemd hierarchies of cgroup v1 beside
// the unified one. Debian mounts these when its kernel is booted with
// systemd.unified_cgroup_hierarchy=0. Where the machine's memory controller is on cgroup v1 the
// units inside can't have memory limits of their own (MemoryMax=). Everything else of a unit works
// as on a Pi. All hosts share the machine's clock.
package nspawn
