package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// recipe returns the commands of docs/catalog.md's section on backups. They tell how one is made,
// how it is put back, and how what came after it is given up.
func recipe(t *testing.T) (backup, restore, giveUp string) {
	t.Helper()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "catalog.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Backup\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)\n```\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 3 {
		t.Fatalf("the section has %d blocks of commands", len(blocks))
	}
	return blocks[0][1], blocks[1][1], blocks[2][1]
}

// shell is a terminal on the controller, where the folders are those of the test.
type shell struct {
	*array
	tools, usb string
	dead       bool // the controller was killed, and can't be stopped
}

func newShell(a *array) *shell {
	s := &shell{array: a, tools: a.t.TempDir(), usb: a.t.TempDir()}
	ask := `touch "$0.$1" && while [ -e "$0.$1" ]; do sleep 0.02; done`
	for name, script := range map[string]string{
		"sudo":            `if [ "$1" = -u ]; then shift 2; fi; exec "$@"`,
		"systemctl":       ask,
		"raidctl":         fmt.Sprintf(`exec %s/raidctl --controller %s "$@"`, programs.plain, a.API.URL),
		"raid-controller": fmt.Sprintf(`exec %s/raid-controller --config %s "$@"`, programs.plain, filepath.Join(a.Dir(), "conf", "controller.toml")),
	} {
		a.must(os.WriteFile(filepath.Join(s.tools, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	return s
}

// paste runs commands as they are, but for the places of folders.
func (s *shell) paste(commands string) {
	s.t.Helper()
	for _, place := range [][2]string{
		{"-C / ", "-C " + s.Dir() + " "}, {" etc/raid-controller", " conf"}, {" var/lib/raid-controller", " controller"},
		{"/var/lib/raid-controller", filepath.Join(s.Dir(), "controller")}, {"/mnt/usb", s.usb},
	} {
		commands = strings.ReplaceAll(commands, place[0], place[1])
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", commands)
	cmd.Env = append(os.Environ(), "PATH="+s.tools+":"+os.Getenv("PATH"))
	ended := make(chan error, 1)
	go func() {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		ended <- err
	}()
	for {
		select {
		case err := <-ended:
			s.must(err)
			return
		case <-time.After(20 * time.Millisecond):
		}
		for action, do := range map[string]func() error{
			"stop": func() error {
				if s.dead {
					return nil
				}
				return s.Controller.Terminate(settled)
			},
			"start": s.Controller.Start,
		} {
			asked := filepath.Join(s.tools, "systemctl."+action)
			if _, err := os.Stat(asked); err == nil {
				s.must(do())
				s.must(os.Remove(asked))
			}
		}
	}
}

// A Pi has no sqlite3, and a catalog without its keys is another array.
func TestTheBackupOfTheDocumentBringsEverythingBack(t *testing.T) {
	backup, restore, giveUp := recipe(t)
	a := start(t, cluster.Config{Nodes: 3, Joined: true})
	s := newShell(a)
	data := content(300_000)
	id := a.upload(data).ID
	a.must(a.Root(t.Context(), http.MethodPost, "/access-tokens", `{"name": "laptop", "scope": "write"}`, nil))
	s.paste(backup)
	a.must(a.WaitReady(t.Context(), 3))
	a.check(id, data)

	// The card dies.
	a.must(a.Controller.Kill())
	s.dead = true
	state := filepath.Join(a.Dir(), "controller")
	a.must(os.RemoveAll(state))
	a.must(os.Mkdir(state, 0o700)) // as the package makes it
	a.must(os.RemoveAll(filepath.Join(a.Dir(), "conf", "controller.toml")))
	s.paste(restore)
	a.must(a.WaitUp(t.Context(), 3)) // nobody has been at the nodes
	a.check(id, data)
	a.eventually("nodes tell that there was a later start", time.Minute, func() error {
		if a.API.Ready(t.Context()) == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	s.dead = false
	s.paste(giveUp)
	a.must(a.WaitReady(t.Context(), 3))
	a.check(id, data)
	more := content(10_000)
	a.check(a.upload(more).ID, more)
	var tokens struct {
		Tokens []struct {
			Name string `json:"name"`
		} `json:"tokens"`
	}
	a.must(a.Root(t.Context(), http.MethodGet, "/access-tokens?", "", &tokens))
	if len(tokens.Tokens) != 1 || tokens.Tokens[0].Name != "laptop" {
		t.Errorf("the tokens are %v", tokens.Tokens)
	}
	if err := a.API.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// A lost state directory makes a new array, to which the nodes are strangers.
func TestAControllerThatLostItsStateSaysWhoseNodesKnock(t *testing.T) {
	a := start(t, cluster.Config{Nodes: 3, Joined: true})
	data := content(100_000)
	id := a.upload(data).ID
	array := regexp.MustCompile(`array=(\w+)`).FindStringSubmatch(a.Controller.LogText())
	a.must(a.Controller.Terminate(settled))
	state := filepath.Join(a.Dir(), "controller")
	a.must(os.Rename(state, state+".lost"))
	a.must(a.Controller.Start())
	s := newShell(a)
	a.eventually("it says whose nodes knock", time.Minute, func() error {
		cmd := exec.CommandContext(t.Context(), filepath.Join(s.tools, "raidctl"), "status")
		out, _ := cmd.CombinedOutput() // its status is for what is not well
		if !strings.Contains(string(out), "3 nodes of array "+array[1]) || !strings.Contains(string(out), "backup") {
			return fmt.Errorf("raidctl status says: %s", out)
		}
		return nil
	})
	if !strings.Contains(a.Controller.LogText(), "a node of another array knocks") {
		t.Error("the log does not say so")
	}
	a.must(a.Controller.Terminate(settled))
	a.must(os.RemoveAll(state))
	a.must(os.Rename(state+".lost", state))
	a.must(a.Controller.Start())
	a.must(a.WaitReady(t.Context(), 3))
	a.check(id, data)
	more := content(1000)
	a.check(a.upload(more).ID, more)
}
