//go:build system

package packages

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var scripts = []string{"postinst", "prerm", "postrm"}

func TestMaintainerScriptsRunInAnyShell(t *testing.T) {
	for _, name := range daemons {
		dir := t.TempDir()
		run(t, "dpkg-deb", "-e", debOf(t, name, native(t)), dir)
		for _, s := range scripts {
			path := filepath.Join(dir, s)
			silent(t, "sh", "-n", path)
			silent(t, "shellcheck", "-s", "sh", path)
			silent(t, "checkbashisms", path)
		}
	}
}

// Debian's helpers know when a service must not be touched (policy-rc.d, a chroot, an
// administrator who disabled it); systemctl does not. Users and what is in /var stay.
var forbidden = regexp.MustCompile(`systemctl (--\S+ )*(re)?(start|stop|enable|disable|mask)|userdel|deluser|rm -rf? ["$]*(\{DPKG_ROOT:-\})?"?/(var|run|srv|mnt|media|home)`)

func TestMaintainerScriptsLeaveServicesToDebianAndDataAlone(t *testing.T) {
	for _, name := range daemons {
		for _, s := range scripts {
			if found := forbidden.FindString(script(t, debOf(t, name, native(t)), s)); found != "" {
				t.Errorf("%s of %s has %q", s, name, found)
			}
		}
	}
	for _, would := range []string{`rm -rf "${DPKG_ROOT:-}/var/lib/raid-node"`, "rm -rf /var/lib/raid-node", "systemctl stop x", "systemctl --system restart x"} {
		if !forbidden.MatchString(would) {
			t.Errorf("%q would not be found", would)
		}
	}
}

// system is a root in which dpkg installs, with Debian's own helpers, which take their
// files from there. Nothing runs in it.
type system struct {
	t    *testing.T
	root string
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{t, t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc"} {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("var/lib/dpkg/status", "")
	return s
}

func (s *system) path(name string) string { return filepath.Join(s.root, name) }

func (s *system) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) has(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

// dpkg runs it, and returns what it and the maintainer scripts said.
func (s *system) dpkg(args ...string) string {
	s.t.Helper()
	return run(s.t, "dpkg", append([]string{"--root=" + s.root, "--log=" + s.path("dpkg.log"),
		"--force-not-root", "--force-script-chrootless", "--force-depends", "--force-bad-path", "--force-confold"}, args...)...)
}

func (s *system) isEnabled(name string) string {
	out, _ := exec.Command("systemctl", "--root="+s.root, "is-enabled", name+".service").Output() // not enabled is an error
	return strings.TrimSpace(string(out))
}

// again makes the package anew, without compression, which tests that install it often
// would wait for; as it is, or as another version.
func again(t *testing.T, name, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), version)
	run(t, "dpkg-deb", "-R", debOf(t, name, native(t)), dir)
	control := filepath.Join(dir, "DEBIAN", "control")
	text := strings.Replace(read(t, control), "Version: "+revision, "Version: "+version, 1)
	if err := os.WriteFile(control, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "dpkg-deb", "--root-owner-group", "-Znone", "-b", dir, dir+".deb")
	return dir + ".deb"
}

// advice is the next step that the first installation tells a person.
var advice = map[string]string{
	"raid-controller": "sudo raidctl token create",
	"raid-node":       "sudo raidctl token create",
}

func TestInstallationEnablesTheUnitMakesTheUserAndSaysWhatIsNext(t *testing.T) {
	for _, name := range daemons {
		s := newSystem(t)
		said := s.dpkg("-i", again(t, name, revision))
		if got := s.isEnabled(name); got != "enabled" {
			t.Errorf("%s is %s", name, got)
		}
		users := read(t, s.path("etc/passwd"))
		if want := regexp.MustCompile(`(?m)^` + name + `:x:\d+:\d+:[^:]*:/var/lib/` + name + `:/usr/sbin/nologin$`); !want.MatchString(users) {
			t.Errorf("the users after %s was installed:\n%s", name, users)
		}
		if strings.Count(said, advice[name]) != 1 {
			t.Errorf("%s does not say once what to do next:\n%s", name, said)
		}
		if said = s.dpkg("-i", again(t, name, "1.2.4-1")); strings.Contains(said, advice[name]) {
			t.Errorf("%s says on an upgrade what to do after the first installation:\n%s", name, said)
		}
	}
}

func TestUpgradeKeepsEditsAndADisabledUnitDisabled(t *testing.T) {
	for _, name := range daemons {
		s := newSystem(t)
		s.dpkg("-i", again(t, name, revision))
		run(t, "systemctl", "--root="+s.root, "disable", name+".service")
		conf := "etc/" + name + "/" + name + ".toml"
		s.write(conf, "# mine\n")
		s.write("etc/"+name+"/conf.d/own.toml", "# mine too\n")
		s.dpkg("-i", again(t, name, "1.2.4-1"))
		if got := s.isEnabled(name); got != "disabled" {
			t.Errorf("%s was disabled, and is %s after an upgrade", name, got)
		}
		if read(t, s.path(conf)) != "# mine\n" || !s.has("etc/"+name+"/conf.d/own.toml") {
			t.Errorf("%s: an edited configuration was changed by an upgrade", name)
		}
	}
}

// As with systemd running, which notes what it is asked.
func TestServiceRunsUntilTheNewVersionTakesOver(t *testing.T) {
	bin, booted := t.TempDir(), t.TempDir()
	asked := filepath.Join(bin, "asked")
	for _, helper := range []string{"systemctl", "deb-systemd-invoke", "deb-systemd-helper", "systemd-sysusers"} {
		text := "#!/bin/sh\n"
		if helper == "deb-systemd-invoke" {
			text += `echo "$*" >>` + asked + "\n"
		}
		if err := os.WriteFile(filepath.Join(bin, helper), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range daemons {
		for _, c := range []struct{ script, args, want string }{
			{"postinst", "configure", "start"},
			{"postinst", "configure 1.2.2-1", "restart"},
			{"postinst", "abort-upgrade 1.2.4-1", "restart"},
			{"prerm", "upgrade 1.2.4-1", ""},
			{"prerm", "failed-upgrade 1.2.2-1", ""},
			{"prerm", "remove", "stop"},
		} {
			path := filepath.Join(t.TempDir(), c.script)
			text := strings.ReplaceAll(script(t, debOf(t, name, native(t)), c.script), "/run/systemd/system", booted)
			err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.WriteFile(asked, nil, 0o644))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", append([]string{path}, strings.Fields(c.args)...)...)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "DPKG_ROOT=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s %s of %s: %v\n%s", c.script, c.args, name, err, out)
			}
			if c.want != "" {
				c.want += " " + name + ".service"
			}
			if got := strings.TrimSpace(read(t, asked)); got != c.want {
				t.Errorf("%s %s of %s asks for %q, want %q", c.script, c.args, name, got, c.want)
			}
		}
	}
}

func TestRemovingAndPurgingKeepWhatPeopleStored(t *testing.T) {
	stored := map[string][]string{
		"raid-controller": {"var/lib/raid-controller/catalog.db", "var/lib/raid-controller/ca.pem"},
		"raid-node":       {"var/lib/raid-node/chunks/ab/cd", "var/lib/raid-node/identity/node.pem", "srv/usb/chunks/ab/ef"},
	}
	for _, name := range daemons {
		s := newSystem(t)
		deb := again(t, name, revision)
		s.dpkg("-i", deb)
		for _, file := range stored[name] {
			s.write(file, "precious")
		}
		s.write("etc/"+name+"/conf.d/own.toml", "")
		if name == "raid-node" {
			s.write("etc/raid-node/conf.d/own.toml", `chunk_dir = "/srv/usb/chunks"`+"\n")
		}
		said := s.dpkg("-r", name)
		if name == "raid-node" && !strings.Contains(said, "its chunks stay in /srv/usb/chunks\n") {
			t.Errorf("removing raid-node does not say where the chunks are:\n%s", said)
		}
		if !s.has("etc/"+name+"/"+name+".toml") || !s.has("etc/"+name+"/conf.d/own.toml") {
			t.Errorf("removing %s took its configuration away", name)
		}

		// Once more, to go on with what there is.
		if said = s.dpkg("-i", deb); strings.Contains(said, advice[name]) {
			t.Errorf("%s takes a machine that has data for a new one:\n%s", name, said)
		}
		said = s.dpkg("-P", name)
		if !strings.Contains(said, "/var/lib/"+name) {
			t.Errorf("purging %s does not say what it keeps:\n%s", name, said)
		}
		if name == "raid-node" && !strings.Contains(said, "its chunks are kept: /srv/usb/chunks, ") {
			t.Errorf("purging raid-node does not say where the chunks are:\n%s", said)
		}
		for _, file := range stored[name] {
			if !s.has(file) || read(t, s.path(file)) != "precious" {
				t.Errorf("purging %s took %s away", name, file)
			}
		}
		for _, file := range []string{"etc/" + name, "etc/default/" + name, "etc/systemd/system/multi-user.target.wants/" + name + ".service",
			"var/lib/systemd/deb-systemd-helper-enabled/" + name + ".service.dsh-also"} {
			if s.has(file) {
				t.Errorf("purging %s left %s", name, file)
			}
		}
		if !strings.Contains(read(t, s.path("etc/passwd")), name+":") {
			t.Errorf("purging %s took the owner of its files away", name)
		}
	}
}

// When the package was removed before, nothing tells any more what raid-node.toml said.
func TestPurgingDoesNotTakeAFolderForTheOneThatWasInUse(t *testing.T) {
	s := newSystem(t)
	s.dpkg("-i", again(t, "raid-node", revision))
	s.write("etc/raid-node/raid-node.toml", `chunk_dir = "/srv/usb/chunks"`+"\n")
	s.write("srv/usb/chunks/ab/ef", "precious")
	s.write("var/lib/raid-node/chunks/ab/cd", "from before there was a disk")
	if said := s.dpkg("-r", "raid-node"); !strings.Contains(said, "its chunks stay in /srv/usb/chunks\n") {
		t.Errorf("removing raid-node does not say where the chunks are:\n%s", said)
	}
	if said := s.dpkg("-P", "raid-node"); !strings.Contains(said, "its chunks are kept: in /var/lib/raid-node/chunks, or where chunk_dir said, and ") {
		t.Errorf("purging raid-node says:\n%s", said)
	}
}
