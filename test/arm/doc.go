// Package arm tests what people run on a Raspberry Pi: the programs for its
// processors, and the packages on real systemd of these machines.
//
// # Two layers
//
// With the build tag system (make test-system) tests run the programs under qemu-user. Those for
// the first Pi and the Zero run on a processor like theirs (arm1176, an ARMv6). The tests install
// the packages in Debian roots of armhf and arm64 with chroot.
//
// With armboot as well (make e2e-arm) whole machines are booted by qemu-system. These have a
// kernel, cgroups and seccomp of their own, so the units run in the sandbox that is shipped. A
// [machine] has a controller and a node; a second node, for this machine's own processor, joins
// from outside.
//
// # What it needs
//
// Root, and Debian. The script prepare installs the emulators and makes the roots
// and kernels, once: they stay in ${RAIDPI_TEST_CACHE:-/var/cache/raidpi-test}.
//
// # Caveats
//
// qemu-user has no memory cgroup and no seccomp of the guest. Debian's armhf is an ARMv7, so on the
// ARMv6 only our own programs are run. Times of an emulated machine are some ten times those of a
// real one and say nothing.
package arm
