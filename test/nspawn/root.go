package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The releases of Debian that hosts may have.
const (
	Bookworm = "bookworm"
	Trixie   = "trixie"
)

const arch = "amd64"

// packages are those that hosts have besides Debian's minimum. They are more or less what the setup
// of these tests wants of a Raspberry Pi OS. There is no package source: what a test installs comes
// from the test.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "apt", "iproute2", "iputils-ping", "procps", "ca-certificates", "nftables", "curl",
	"sudo", "avahi-daemon", "libnss-mdns", "e2fsprogs", "bsdutils", "util-linux",
}

// furnish is run by mmdebstrap in the new root, $1.
const furnish = `set -eu
rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin
mkdir -p "$1"/var/log/journal "$1"/var/lib/apt/lists/partial
# A person answers apt's question; here nobody is asked.
echo 'APT::Get::Assume-Yes "true";' >"$1"/etc/apt/apt.conf.d/90assume-yes
printf '%s\n' '[Match]' 'Name=host0' '[Network]' 'LinkLocalAddressing=no' 'DHCP=no' >"$1"/etc/systemd/network/10-host0.network
systemctl --root="$1" enable systemd-networkd.service avahi-daemon.service
# What a host of minutes does not need, and what would write to its disk on its own.
systemctl --root="$1" mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer console-getty.service getty.target systemd-tmpfiles-clean.timer
# Without a network at its start a host would wait two minutes for one.
mkdir -p "$1"/etc/systemd/system/systemd-networkd-wait-online.service.d
printf '%s\n' '[Service]' 'ExecStart=' 'ExecStart=/lib/systemd/systemd-networkd-wait-online --timeout=5' >"$1"/etc/systemd/system/systemd-networkd-wait-online.service.d/short.conf
`

// cacheDir returns the folder in which roots stay between runs.
func cacheDir() string {
	if dir := os.Getenv("RAIDPI_TEST_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/raidpi-test"
}

// MakeRoots makes the roots that are not in the cache yet. It is for tests that measure times:
// otherwise the first host of a release waits for its root.
func MakeRoots(ctx context.Context, releases ...string) error {
	if err := prepare(); err != nil {
		return err
	}
	for _, release := range releases {
		if _, err := root(ctx, cacheDir(), release); err != nil {
			return err
		}
	}
	return nil
}

// prepare looks who runs the test, and finds the tools of administrators, which are not
// in everybody's PATH.
func prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("make hosts with systemd: only root can; run the test as root")
	}
	path := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	return os.Setenv("PATH", strings.Join(path, string(filepath.ListSeparator)))
}

// root is the folder of the root that all hosts of a release see under their own files.
// It is made when it is not in the cache, which takes some minutes and Debian's package
// source.
func root(ctx context.Context, cache, release string) (string, error) {
	key := sha256.Sum256([]byte(strings.Join(packages, " ") + furnish))
	name := strings.Join([]string{"nspawn", release, arch, hex.EncodeToString(key[:6])}, "-")
	dir := filepath.Join(cache, name)
	unlock, err := lock(dir+".lock", unix.LOCK_EX)
	if err != nil {
		return "", fmt.Errorf("make the hosts' root: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return filepath.Join(dir, "root"), nil
	}
	half := dir + ".new"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "Making a root of %s for hosts (some minutes; kept in %s).\n", release, cache)
	if err := bootstrap(ctx, half, release); err != nil {
		return "", fmt.Errorf("make the hosts' root: %w", errors.Join(err, os.RemoveAll(half)))
	}
	return filepath.Join(dir, "root"), os.Rename(half, dir)
}

func bootstrap(ctx context.Context, dir, release string) error {
	script := filepath.Join(dir, "furnish")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+furnish), 0o755); err != nil {
		return err
	}
	return run(ctx, "mmdebstrap", "--variant=minbase", "--architectures="+arch, "--include="+strings.Join(packages, ","),
		"--customize-hook="+script, release, filepath.Join(dir, "root"))
}

// lock takes a file's lock, waiting for it unless how has LOCK_NB. It ends with the
// process, however that ends.
func lock(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}

// run runs a program of the machine.
func run(ctx context.Context, program string, args ...string) error {
	_, err := output(ctx, program, args...)
	return err
}

func output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		text := said.String()
		if len(text) > 2000 {
			text = "…" + text[len(text)-2000:]
		}
		return string(out), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return string(out), nil
}
