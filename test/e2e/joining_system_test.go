//go:build system

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/hosts"
	"github.com/raidpi/raidpi/test/kit"
)

// scene is an array of machines of its own, with the daemons' default configuration.
type scene struct {
	t          *testing.T
	net        *hosts.Network
	bin        []string // folders of programs
	controller *hosts.Host
	daemons    map[string]*cluster.Daemon // by host
	readme     map[string]string          // lines, by their mark
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir := t.TempDir()
	network, err := hosts.New(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, net: network, daemons: map[string]*cluster.Daemon{}, readme: readmeLines(t)}
	t.Cleanup(func() {
		for name, d := range s.daemons {
			_ = d.Kill()
			if t.Failed() {
				t.Logf("%s:\n%s", name, d.LogTail(30))
			}
		}
		network.Close()
	})
	// On these machines everybody is root, who needs no sudo.
	tools := filepath.Join(dir, "tools")
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tools, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.bin = []string{tools, programs.plain}
	s.controller = s.add("controller", "10.77.0.1")
	return s
}

// readmeLines are the lines of the README that are marked for this scene.
func readmeLines(t *testing.T) map[string]string {
	t.Helper()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)<!-- scene: (\\w+) -->\n```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		lines[m[1]] = m[2]
	}
	return lines
}

func (s *scene) add(name, addr string) *hosts.Host {
	s.t.Helper()
	h, err := s.net.Add(s.t.Context(), name, addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.tellName(h)
	return h
}

// withoutBus is avahi-daemon's configuration: these machines have no D-Bus.
const withoutBus = `[server]
use-ipv4=yes
use-ipv6=no
enable-dbus=no
allow-interfaces=eth0
`

// tellName runs avahi-daemon on a host, so that it finds the others by mDNS and they
// find it.
func (s *scene) tellName(h *hosts.Host) {
	s.t.Helper()
	conf := filepath.Join(h.Home(), "avahi-daemon.conf")
	if err := os.WriteFile(conf, []byte(withoutBus), 0o644); err != nil {
		s.t.Fatal(err)
	}
	// Its runtime folder must be its own user's, and where the test is not root there
	// is one user only.
	s.paste(h, `for f in passwd group; do
	sed 's/^avahi:x:[0-9]*:[0-9]*:/avahi:x:0:0:/; s/^avahi:x:[0-9]*:/avahi:x:0:/' /etc/$f >$f
	mount --bind $f /etc/$f
done`)
	s.run("avahi of "+h.Name, h, "avahi-daemon", "-f", conf, "--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title")
	s.until(h.Name+" has its name", func() bool {
		_, _, err := s.try(h, "test -S /run/avahi-daemon/socket")
		return err == nil
	})
}

// start runs a daemon on a host, as its unit would.
func (s *scene) start(h *hosts.Host, program string, env ...string) {
	s.t.Helper()
	// With the race detector it has cgo and would leave names to glibc, unlike what
	// is shipped.
	env = append(env, "GODEBUG=netdns=go")
	s.run(h.Name, h, "env", append(env, filepath.Join(programs.race, program))...)
}

// run starts a program that is stopped when the test is over.
func (s *scene) run(name string, h *hosts.Host, program string, args ...string) {
	s.t.Helper()
	line := h.Enter(program, args...)
	d := cluster.NewDaemon(cluster.DaemonConfig{
		Name: name, Path: line[0], Args: line[1:], Dir: h.Home(), Log: filepath.Join(h.Home(), name+".log"),
		Env: []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"},
	})
	// nsenter is looked for in the PATH, as exec.Command does it.
	if err := d.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.daemons[name] = d
}

// paste runs lines on a host and returns what they print to standard output.
func (s *scene) paste(h *hosts.Host, lines string) string {
	s.t.Helper()
	out, said, err := s.try(h, lines)
	if err != nil {
		s.t.Fatalf("%s: %s: %v\n%s%s", h.Name, lines, err, out, said)
	}
	return out
}

func (s *scene) try(h *hosts.Host, lines string) (out, said string, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := h.Shell(ctx, s.bin, lines)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

func (s *scene) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("this never happened: %s", what)
		}
	}
}

// watchProcesses looks for a text in the command lines of all processes until stop.
func watchProcesses(secret string) (stop func() []string) {
	var found []string
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range lines {
				line, err := os.ReadFile(path)
				if name := string(line); err == nil && strings.Contains(name, secret) && !strings.Contains(name, "nsenter") && !strings.HasPrefix(name, "sh\x00-e\x00") {
					found = append(found, strings.ReplaceAll(name, "\x00", " "))
				}
			}
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	return func() []string { close(end); wg.Wait(); return found }
}

// upAndReady waits for the array.
func (s *scene) upAndReady(nodes int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d nodes are up", nodes), func() bool {
		out, _, err := s.try(s.controller, "sudo raidctl status")
		return err == nil && strings.Contains(out, fmt.Sprintf("%d up", nodes))
	})
}

// TestArrayIsSetUpByTheLinesOfTheREADME is the README's section on seven machines.
func TestArrayIsSetUpByTheLinesOfTheREADME(t *testing.T) {
	s := newScene(t)
	s.start(s.controller, "raid-controller", "RAID_CONTROLLER_RESERVE=0")
	var pis []*hosts.Host
	for i := range 4 {
		pi := s.add(fmt.Sprintf("pi-%d", i+1), fmt.Sprintf("10.77.0.%d", 11+i))
		s.start(pi, "raid-node", "RAID_NODE_RESERVE=0")
		pis = append(pis, pi)
	}
	laptop, stranger := s.add("laptop", "10.77.0.20"), s.add("stranger", "10.77.0.66")
	s.until("the controller is ready", func() bool { _, _, err := s.try(s.controller, "sudo raidctl fingerprint"); return err == nil })
	for _, pi := range pis {
		s.until(pi.Name+" says that it has not joined", func() bool {
			out, _, _ := s.try(pi, "sudo raid-node status")
			return strings.Contains(out, "Not joined: run sudo raid-node join")
		})
	}

	line := s.paste(s.controller, s.readme["invite"])
	token := regexp.MustCompile(`RAID1-[0-9A-Z-]+`).FindString(line)
	if strings.Count(line, "\n") != 1 || token == "" {
		t.Fatalf("what is to be pasted is %q", line)
	}
	seen := watchProcesses(token)
	for i, pi := range pis {
		start := time.Now()
		out := s.paste(pi, line)
		if took := time.Since(start); took > 3*2*time.Second {
			t.Errorf("joining took %v", took)
		} else {
			t.Logf("%s joined after %v", pi.Name, took.Round(time.Millisecond))
		}
		if want := fmt.Sprintf("Joined as %s (%d/%d nodes)", pi.Name, i+1, i+1); !strings.Contains(out, want) {
			t.Errorf("%s says %q, want %q", pi.Name, out, want)
		}
	}
	if again := s.paste(pis[0], line); !strings.Contains(again, "already joined") {
		t.Errorf("pasted once more: %q", again)
	}
	if found := seen(); len(found) > 0 {
		t.Errorf("the token is seen in the list of processes: %q", found)
	}
	s.upAndReady(4)

	access := strings.TrimSpace(s.paste(s.controller, s.readme["access"]))
	key := regexp.MustCompile(`raidpi_[A-Za-z0-9_]+`).FindString(access)
	s.login(laptop, key)
	photo := cluster.Content{Seed: 7, Size: 9 << 20}.Bytes()
	if err := os.WriteFile(filepath.Join(laptop.Home(), "photo.jpg"), photo, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := s.paste(laptop, s.readme["laptop"]); !strings.Contains(out, "photo.jpg") {
		t.Errorf("listed: %q", out)
	}
	s.paste(laptop, "export RAID_TOKEN="+key+"\n"+s.readme["curl"])
	copied, err := os.ReadFile(filepath.Join(laptop.Home(), "copy.jpg"))
	if err != nil || !bytes.Equal(copied, photo) {
		t.Errorf("the copy has %d bytes, want %d: %v", len(copied), len(photo), err)
	}
	s.strangerIsRefused(stranger)
	s.floodSlowsTheFlooder(stranger, laptop)
	s.noSecretIsLogged(token, key)
	s.removedNodeIsOut(pis[3])
}

// login answers raidctl's question at a terminal. The token says who the controller is.
func (s *scene) login(laptop *hosts.Host, key string) {
	s.t.Helper()
	want := strings.TrimSpace(s.paste(s.controller, "sudo raidctl fingerprint"))
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	// script(1) gives the command a terminal.
	cmd := laptop.Shell(ctx, s.bin, "script -qec '"+strings.TrimSpace(s.readme["login"])+"' /dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	said := &kit.Log{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.until("raidctl asks for the token", func() bool { return strings.Contains(said.String(), "Token (not shown") })
	fmt.Fprintln(in, key)
	if err := cmd.Wait(); err != nil {
		s.t.Fatalf("login: %v\n%s", err, said)
	}
	if strings.Contains(said.String(), key) {
		s.t.Error("the token is shown as it is typed")
	}
	if stored := s.paste(laptop, "cat ~/.config/raidctl/login.json"); !strings.Contains(stored, want) {
		s.t.Errorf("the login is not for the controller with fingerprint %s: %s", want, stored)
	}
}

// strangerIsRefused tries every port from a machine that has nothing.
func (s *scene) strangerIsRefused(stranger *hosts.Host) {
	s.t.Helper()
	out, said, err := s.try(stranger, filepath.Join(strangerProgram(s.t), "stranger")+" "+s.controller.Addr)
	if err != nil || strings.Contains(out, "SERVED") || strings.Count(out, "refused") != 9 {
		s.t.Errorf("the stranger at the nodes' ports: %v\n%s%s", err, out, said)
	}
	for _, try := range []struct{ lines, want string }{
		{"curl -sS -i http://controller.local:9000/files", "403"},
		{"curl -sS -i -k https://controller.local:9000/files", "401"},
		{"curl -sS -i -k -X DELETE https://controller.local:9000/files/1", "401"},
		{"curl -sS -i -k -H 'Authorization: Bearer raidpi_aaaaaaaa_00000000000000000000000000000000000000000000' https://controller.local:9000/files", "401"},
		{"curl -sS -i -k -H 'Host: localhost:9000' https://controller.local:9000/files", "401"},
		{"curl -sS -i -k -X POST -H 'Content-Type: application/json' -d '{}' https://controller.local:9000/join-tokens", "401"},
		{"curl -sS -i -k -X POST -H 'Content-Type: application/json' -d '{\"force\": true}' https://controller.local:9000/v1/nodes/leave", "403"},
		{"curl -sS -i -k https://controller.local:9000/livez", "200"}, // which tells nothing
	} {
		if out, said, err := s.try(stranger, try.lines); err != nil || !regexp.MustCompile(`^HTTP/1.1 `+try.want).MatchString(out) {
			s.t.Errorf("%s: %v, want %s\n%s%s", try.lines, err, try.want, out, said)
		}
	}
	// Our own program, told to do without TLS, gets no further.
	if _, said, err := s.try(stranger, "raid-node join controller.local RAID1-nonsense"); err == nil {
		s.t.Errorf("joined with nonsense: %s", said)
	}
	if err := s.noNodeFrom(stranger); err != nil {
		s.t.Error(err)
	}
}

// floodSlowsTheFlooder has the laptop go on while a stranger connects to all ports
// as fast as it can.
func (s *scene) floodSlowsTheFlooder(stranger, laptop *hosts.Host) {
	s.t.Helper()
	flooded := make(chan string)
	go func() {
		out, said, _ := s.try(stranger, filepath.Join(programs.temp, "stranger", "stranger")+" "+s.controller.Addr+" flood")
		flooded <- out + said
	}()
	time.Sleep(time.Second)
	rounds, longest := 0, time.Duration(0)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); rounds++ {
		start := time.Now()
		s.paste(laptop, "id=$(raidctl upload photo.jpg)\nraidctl download --force -o again.jpg $id\ncmp photo.jpg again.jpg\nraidctl rm $id")
		longest = max(longest, time.Since(start))
		if out := s.paste(s.controller, "sudo raidctl status"); !strings.Contains(out, "4 up") {
			s.t.Errorf("during the flood:\n%s", out)
		}
	}
	s.t.Logf("%d rounds of the laptop during a flood of %s the longest took %v", rounds, strings.TrimSpace(<-flooded), longest.Round(time.Millisecond))
	if strings.Contains(s.daemons["controller"].LogText(), "node down") {
		s.t.Error("a node was lost in the flood")
	}
}

func (s *scene) noNodeFrom(stranger *hosts.Host) error {
	s.start(stranger, "raid-node", "RAID_NODE_RESERVE=0", "RAID_NODE_CONTROLLER_PLAINTEXT=any")
	s.until("the stranger's node is refused", func() bool {
		out, _, _ := s.try(stranger, "raid-node status")
		return strings.Contains(out, "Refused by controller.local")
	})
	if out := s.paste(s.controller, "sudo raidctl node ls --wide"); strings.Contains(out, stranger.Addr) {
		return fmt.Errorf("the stranger is listed:\n%s", out)
	}
	return nil
}

// strangerProgram builds test/stranger.
func strangerProgram(t *testing.T) string {
	t.Helper()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(programs.temp, "stranger")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", dir+"/", "./test/stranger")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func (s *scene) noSecretIsLogged(secrets ...string) {
	s.t.Helper()
	for name, d := range s.daemons {
		for _, secret := range secrets {
			if strings.Contains(d.LogText(), secret[len(secret)-30:]) {
				s.t.Errorf("the log of %s has a secret", name)
			}
		}
	}
	for _, lines := range []string{"raidctl --json status", "raid-controller --print-config", "curl -s http://localhost:9000/metrics", "raidctl token ls", "raidctl access ls"} {
		out := s.paste(s.controller, lines)
		for _, secret := range secrets {
			if strings.Contains(out, secret[len(secret)-30:]) {
				s.t.Errorf("%s shows a secret", lines)
			}
		}
	}
}

// removedNodeIsOut puts a Pi out of the array.
func (s *scene) removedNodeIsOut(pi *hosts.Host) {
	s.t.Helper()
	if _, said, err := s.try(s.controller, "sudo raidctl node remove "+pi.Name); err == nil || !strings.Contains(said, "--force") {
		s.t.Errorf("a node with chunks is removed just so: %v %s", err, said)
	}
	s.paste(s.controller, "sudo raidctl node remove --force "+pi.Name)
	s.until("the removed node knows it", func() bool {
		out, _, _ := s.try(pi, "sudo raid-node status")
		return !strings.Contains(out, "Connected")
	})
	if out := s.paste(s.controller, "sudo raidctl node ls"); strings.Contains(out, pi.Name) {
		s.t.Errorf("it is still listed:\n%s", out)
	}
	s.upAndReady(3)
	s.until("what it held is made anew elsewhere", func() bool {
		out, _, err := s.try(s.controller, "sudo raidctl status")
		return err == nil && !strings.Contains(out, "degraded")
	})
}
