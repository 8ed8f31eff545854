//go:build system

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd-analyze verify tells what it does not understand, and ends with status 0
// all the same: it must say nothing.
func TestUnitsAreUnderstood(t *testing.T) {
	root := t.TempDir()
	if err := unpack(root, debs(t, native(t))); err != nil {
		t.Fatal(err)
	}
	furnish(t, root)
	for _, name := range daemons {
		silent(t, "systemd-analyze", "verify", "--man=no", "--root="+root, name+".service")
	}
	// It would have said something.
	unit := filepath.Join(root, "usr/lib/systemd/system/raid-node.service")
	text := read(t, unit)
	if err := os.WriteFile(unit, []byte(strings.Replace(text, "WatchdogSec=", "WatchDogSecs=", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--root="+root, "raid-node.service").CombinedOutput()
	if !strings.Contains(string(out), "WatchDogSecs") {
		t.Errorf("a key that does not exist was not seen: %q, %v", out, err)
	}
}

// furnish puts into a root what the units find on each Debian: systemd's targets,
// and kill.
func furnish(t *testing.T, root string) {
	t.Helper()
	targets, err := filepath.Glob("/usr/lib/systemd/system/*.target")
	if err != nil || len(targets) == 0 {
		t.Fatalf("systemd's own units are not where Debian has them: %v", err)
	}
	for _, target := range targets {
		content, err := os.ReadFile(target)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, target), content, 0o644)
		}
		if err != nil {
			t.Fatalf("copy %s: %v", target, err)
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/kill"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The threshold is in tenths: 1.5 of 10, where a unit without any care has 9.6.
func TestUnitsAreHardened(t *testing.T) {
	root := unpacked(t, native(t))
	for _, name := range daemons {
		run(t, "systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager",
			filepath.Join(root, "usr/lib/systemd/system", name+".service"))
	}
}

// privateUsers is "no" where the ids of other users must be known.
var privateUsers = map[string]string{"raid-controller": "no", "raid-node": "yes"}

// Each of these was decided; systemd would take the unit without it, too.
func TestUnitsSayWhatWasDecided(t *testing.T) {
	root := unpacked(t, native(t))
	for _, name := range daemons {
		lines := strings.Split(read(t, filepath.Join(root, "usr/lib/systemd/system", name+".service")), "\n")
		has := map[string]bool{}
		for _, line := range lines {
			has[line] = true
			// A node that waits for another machine never starts when that is dead. ProcSubset=
			// hides /proc/meminfo, and the memory cgroup is missing for MemoryMax=.
			for _, never := range []string{"Requires=", "BindsTo=", "ProcSubset=", "MemoryMax=", "DynamicUser=", "Type=notify-reload"} {
				if strings.HasPrefix(line, never) {
					t.Errorf("%s has %s", name, line)
				}
			}
		}
		for _, want := range []string{
			"Type=notify", "NotifyAccess=main", "WatchdogSec=60", "TimeoutStartSec=90", "TimeoutStopSec=45",
			"Restart=on-failure", "RestartSec=10", "StartLimitIntervalSec=0", "RestartPreventExitStatus=78",
			"ExecReload=/usr/bin/" + name + " --check-config", "ExecReload=/bin/kill -HUP $MAINPID",
			"Environment=GOTRACEBACK=all", "EnvironmentFile=-/etc/default/" + name,
			"Wants=network-online.target", "After=network-online.target time-sync.target avahi-daemon.service",
			"User=" + name, "StateDirectory=" + name, "StateDirectoryMode=0700", "RuntimeDirectory=" + name, "ConfigurationDirectory=" + name,
			"RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6", "WantedBy=multi-user.target",
			// Whoever may write there puts a socket of his own before root's raidctl.
			"RuntimeDirectoryMode=0755", "UMask=0077", "LimitNOFILE=65536", "TasksMax=512", "OOMScoreAdjust=-300",
			// The score has room for some of these to be lost.
			"CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes", "PrivateUsers=" + privateUsers[name], "ProtectSystem=strict", "ProtectHome=yes",
			"PrivateTmp=yes", "PrivateDevices=yes", "DevicePolicy=closed", "PrivateMounts=yes", "ProtectProc=invisible", "ProtectClock=yes",
			"ProtectHostname=yes", "ProtectControlGroups=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes", "ProtectKernelTunables=yes",
			"RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes", "MemoryDenyWriteExecute=yes",
			"RemoveIPC=yes", "KeyringMode=private", "SystemCallArchitectures=native", "SystemCallFilter=@system-service",
			"SystemCallFilter=~@privileged @resources", "SystemCallErrorNumber=EPERM",
		} {
			if !has[want] {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if name == "raid-node" && !has["RequiresMountsFor=/var/lib/raid-node"] {
			t.Error("raid-node does not wait for the disk of its chunks")
		}
	}
}
