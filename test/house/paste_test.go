package house

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// hungry stands for sudo and other programs in blocks of lines. It swallows what was typed ahead,
// as sudo does before it asks for a password, and notes how it was called.
const hungry = `#!/bin/bash
echo "${0##*/} $*" >>"$PASTE_LOG"
if [ -t 0 ]; then
	while read -r -t 0.15 -n 1 _ </dev/tty; do :; done
else
	cat >/dev/null
fi
`

// fakes are programs that blocks call. What the shell has itself stays.
var fakes = []string{
	"sudo", "curl", "raidctl", "raid-node", "apt", "sync", "umount", "mount", "systemctl", "journalctl", "gpg", "tar", "make", "lsblk", "grep", "head", "cp", "scp", "rsync", "ssh",
}

// pasteable are the blocks that are pasted whole: of several lines, and with sudo.
func pasteable(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, path := range append(files, "../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range regexp.MustCompile("(?sm)^```(\\w*)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
			block := m[2]
			if (m[1] == "" || m[1] == "sh") && strings.Count(block, "\n") > 1 && regexp.MustCompile(`(?m)(^|\| )sudo `).MatchString(block) && !strings.Contains(block, "$ ") {
				blocks[fmt.Sprintf("%s, block %d", filepath.Base(path), i+1)] = block
			}
		}
	}
	return blocks
}

// called runs bash over a block and returns which programs it called, in order. A
// terminal gets all of it at once, as terminals without bracketed paste do.
// so many calls are waited for then; 0: it is a script.
func called(t *testing.T, block string, calls int) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range fakes {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(hungry), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "log")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "--norc", "--noprofile", "-c", block)
	terminal := calls > 0
	if terminal {
		cmd = exec.CommandContext(ctx, "script", "-qec", "bash --norc --noprofile -i", "/dev/null")
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "PASTE_LOG="+log, "HISTFILE=", "TERM=dumb", "INPUTRC=/dev/null")
	var screen bytes.Buffer
	cmd.Stdout, cmd.Stderr = &screen, &screen
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if terminal {
		io.WriteString(in, block)
		settle(log, calls)
		io.WriteString(in, "\x03\nexit 0\n") // whatever waits for more lines ends
	}
	in.Close()
	if err := cmd.Wait(); err != nil && terminal {
		t.Fatalf("%v: %s", err, screen.String())
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("nothing was called: %v: %s", err, screen.String())
	}
	return string(text)
}

// settle waits for so many calls, or until there are no more.
func settle(log string, calls int) {
	last, since := -1, time.Now()
	for time.Since(since) < 5*time.Second {
		text, _ := os.ReadFile(log) // there is none before the first call
		n := bytes.Count(text, []byte("\n"))
		if n == calls {
			return
		}
		if n != last {
			last, since = n, time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sudo swallows what was typed ahead, so a block must be one command to the shell,
// which reads it to its end before it begins.
func TestBlocksOfLinesSurviveBeingPasted(t *testing.T) {
	blocks := pasteable(t)
	if len(blocks) < 6 {
		t.Errorf("only %d blocks were found", len(blocks))
	}
	for name, block := range blocks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := called(t, block, 0)
			got := called(t, block, strings.Count(want, "\n"))
			if !slices.Equal(lines(want), lines(got)) {
				t.Errorf("pasted, this block calls\n%s\nand should call\n%s", got, want)
			}
		})
	}
	t.Run("lines that are lost", func(t *testing.T) {
		t.Parallel()
		if lost := called(t, "sudo one\nsudo two\n", 2); strings.Contains(lost, "two") {
			t.Errorf("the fake of sudo swallows nothing: %s", lost)
		}
	})
}

// curl saves a refusal as the file, and succeeds, unless it is told not to.
func TestCurlInTheREADMEFailsWhereTheArrayRefuses(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^curl .*`).FindAllString(string(text), -1)
	if len(all) < 10 {
		t.Errorf("only %d lines were found", len(all))
	}
	for _, line := range all {
		if !regexp.MustCompile(`^curl -f`).MatchString(line) {
			t.Errorf("without -f: %s", line)
		}
	}
	before, _, found := strings.Cut(string(text), "$RAID_TOKEN")
	if !found || !strings.Contains(before, "export RAID_TOKEN") || !strings.Contains(before, "raidctl access create") {
		t.Error("it is not said where $RAID_TOKEN comes from, before it is used")
	}
}

// lines are the calls, sorted: those of a pipe begin at once.
func lines(log string) []string {
	all := strings.Split(strings.TrimSpace(log), "\n")
	slices.Sort(all)
	return all
}
