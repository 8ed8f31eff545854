package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

const (
	nodes     = 4
	fileSize  = 3 << 20 // less than a stripe (4 MiB), so that there are exactly four chunks
	fileName  = "holiday.bin"
	stopLimit = 10 * time.Second
	waitLimit = 2 * time.Minute // for what takes seconds
)

// start runs the array.
func (d *demo) start(ctx context.Context) error {
	d.title("Start one controller and four nodes, as five processes on this machine")
	began := time.Now()
	cfg := cluster.Config{Dir: d.dir, Bin: d.bin, Nodes: nodes, Ports: d.ports}
	cfg.ControllerEnv = []string{"RAID_CONTROLLER_TRASH_KEEP=24h"} // as in an array of one's own
	if d.grace > 0 {
		cfg.ControllerEnv = append(cfg.ControllerEnv, "RAID_CONTROLLER_REPAIR_GRACE="+d.grace.String())
	}
	array, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	d.array = array
	d.line("Ready after %s. REST is on %s, all state in %s/.", rounded(time.Since(began)), array.API.URL, d.dir)
	return nil
}

// show walks through the story: store, look, kill, read, repair. Where grace is set, what
// the dead node held is waited for.
func (d *demo) show(ctx context.Context) error {
	content := cluster.Content{Seed: rand.Uint64(), Size: fileSize}
	id, err := d.upload(ctx, content)
	if err != nil {
		return err
	}
	victim, err := d.whereAreChunks(ctx, id)
	if err != nil {
		return err
	}
	if err := d.kill(ctx, victim); err != nil {
		return err
	}
	if err := d.download(ctx, id, content); err != nil {
		return err
	}
	if err := d.showStatus(ctx); err != nil {
		return err
	}
	if d.grace > 0 {
		if err := d.heal(ctx, victim); err != nil {
			return err
		}
	}
	return d.bringBack(ctx, victim)
}

func (d *demo) upload(ctx context.Context, content cluster.Content) (int64, error) {
	d.title("Upload %s, %d MiB of random bytes", fileName, content.Size>>20)
	began := time.Now()
	created, err := d.array.API.Upload(ctx, fileName, content.Reader(), content.Size)
	if err != nil {
		return 0, fmt.Errorf("upload: %w", err)
	}
	d.files = map[int64]bool{created.ID: true}
	d.line("201 Created after %s: it is file %d, and every copy is on disk.", rounded(time.Since(began)), created.ID)
	if d.grace > 0 {
		return created.ID, d.uploadMore(ctx)
	}
	return created.ID, nil
}

// whereAreChunks prints which node's folder holds each chunk, and returns the
// index of a node that holds one.
func (d *demo) whereAreChunks(ctx context.Context, id int64) (victim int, err error) {
	d.title("Where it went: each half of the file is stored on two different nodes")
	info, err := d.array.API.Info(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("ask where the chunks are: %w", err)
	}
	victim = -1
	for part, names := range []cluster.Names{info.Part1, info.Part2} {
		on := map[int]bool{}
		for _, name := range names {
			node, path, err := d.find(name)
			if err != nil {
				return 0, err
			}
			on[node], victim = true, node
			d.line("half %d on node%d  %s", part+1, node+1, path)
		}
		if len(names) != 2 || len(on) != 2 {
			return 0, fmt.Errorf("half %d has %d chunks on %d nodes, want 2 on 2", part+1, len(names), len(on))
		}
	}
	return victim, nil
}

// find looks for a chunk in the nodes' folders.
func (d *demo) find(name string) (node int, path string, err error) {
	for i := range d.array.Nodes {
		chunks, err := d.array.Chunks(i)
		if err != nil {
			return 0, "", err
		}
		if path, ok := chunks[name]; ok {
			short, err := filepath.Rel(d.array.Dir(), path)
			if err != nil {
				return 0, "", err
			}
			return i, filepath.Join(d.dir, short), nil
		}
	}
	return 0, "", fmt.Errorf("chunk %s is in no node's folder", name)
}

func (d *demo) kill(ctx context.Context, victim int) error {
	node := d.array.Nodes[victim]
	d.title("Kill %s, which holds a half, as a power cut would: kill -9 %d", node.Name(), node.Pid())
	began := time.Now()
	if err := node.Kill(); err != nil {
		return err
	}
	if err := d.array.WaitUp(ctx, nodes-1); err != nil {
		return err
	}
	d.line("The controller noticed after %s. The other %d nodes are up.", rounded(time.Since(began)), nodes-1)
	return nil
}

func (d *demo) download(ctx context.Context, id int64, content cluster.Content) error {
	d.title("Download the file while %d of %d nodes are up", nodes-1, nodes)
	began := time.Now()
	sum, size, err := d.array.API.Digest(ctx, id)
	if err != nil {
		return err
	}
	want := content.SHA256()
	if sum != want || size != content.Size {
		return fmt.Errorf("the download differs: %d bytes with SHA-256 %x, want %d with %x", size, sum, content.Size, want)
	}
	d.line("%d bytes after %s, equal to what was uploaded (SHA-256 %x…).", size, rounded(time.Since(began)), sum[:4])
	return nil
}

func (d *demo) showStatus(ctx context.Context) error {
	d.title("What raidctl status says now")
	return d.status(ctx, "")
}

// status shows what raidctl status says. With a word for the array's health it fails, and
// shows nothing, while the status has another one.
func (d *demo) status(ctx context.Context, health string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "raidctl"), "--controller", d.array.API.URL, "status")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // a status may well say by its exit code that a node is missing
		return fmt.Errorf("run raidctl: %w", err)
	}
	if len(out) == 0 {
		return fmt.Errorf("raidctl status said nothing: %v: %s", err, stderr.String())
	}
	if is := regexp.MustCompile(`(?m)^state +([a-z-]+)`).FindStringSubmatch(string(out)); health != "" && (is == nil || is[1] != health) {
		return fmt.Errorf("raidctl status says:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		d.line("| %s", strings.TrimRight(line, "\n"))
	}
	return nil
}

func (d *demo) bringBack(ctx context.Context, victim int) error {
	node := d.array.Nodes[victim]
	d.title("Start %s again", node.Name())
	began := time.Now()
	if err := node.Start(); err != nil {
		return err
	}
	if err := d.array.WaitReady(ctx, nodes); err != nil {
		return err
	}
	d.line("It is back after %s, and the array is whole.", rounded(time.Since(began)))
	if d.grace > 0 {
		if err := d.returned(ctx); err != nil {
			return err
		}
	}
	if d.once {
		d.printf("\nAll of it worked.\n")
	}
	return nil
}

func (d *demo) printInvitation() {
	d.printf(`
The array keeps running. In another terminal, try:

   curl -F file=@README.md %[1]s/files
   curl %[1]s/files
   curl -o copy.md %[1]s/files/2
   curl %[1]s/nodes
   curl -X DELETE %[1]s/files/2
   %[2]s --controller %[1]s ls

or kill more of it: the pids are`, d.array.API.URL, filepath.Join(d.bin, "raidctl"))
	for _, p := range d.array.Daemons() {
		d.printf(" %s=%d", p.Name(), p.Pid())
	}
	d.printf(".\nCtrl-C ends it.\n")
}

func rounded(t time.Duration) time.Duration {
	if t < 10*time.Millisecond {
		return t.Round(100 * time.Microsecond)
	}
	return t.Round(time.Millisecond)
}
