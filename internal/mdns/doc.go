// Package mdns connects to machines by names ending in .local. In a program without cgo, as ours
// are, the resolver of Go never asks multicast DNS for them.
//
//   - [Dialer] is net.Dialer, which knows such names too. It asks the system first,
//     as ever, so /etc/hosts and a DNS server that knows the name come before.
//   - For names that the system does not know it asks avahi-daemon, which speaks
//     multicast DNS on a Raspberry Pi and most Linux desktops.
//   - A name is only a way to find a machine: anybody in the network may answer.
//     TLS has to check its identity.
//
// Elsewhere than on Linux the system's own resolver knows .local, and Dialer is no
// more than net.Dialer.
//
// # Errors
//
// A name that was not found is a *net.DNSError in a *net.OpError, as net.Dialer has
// it. It wraps [ErrNotRunning] or [ErrNoAnswer], which tell what to look at.
package mdns
