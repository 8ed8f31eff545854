// Package service connects a daemon with what starts it. It has the log that a terminal or journald
// reads, and readiness and status towards systemd. It also has the signals that end the daemon, and
// the version it reports.
//
//   - [NewLogger] writes one line an event to standard error. Under systemd the
//     lines begin with a priority (sd-daemon(3)) and leave the time to journald.
//   - [Notifier] speaks the protocol of sd_notify(3); without NOTIFY_SOCKET it
//     says nothing. Its Watch is the watchdog's other end.
//   - [Daemon] is a daemon's command line. At SIGHUP it reads the configuration
//     anew; a refused one changes nothing.
//   - [Context] ends at the first SIGINT or SIGTERM. A second one ends the
//     process at once.
package service
