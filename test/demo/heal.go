package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// more small files are stored where healing is shown: one alone would prove little.
const more = 24

// uploadMore stores files of some kilobytes.
func (d *demo) uploadMore(ctx context.Context) error {
	for i := range more {
		c := cluster.Content{Seed: uint64(i + 1), Size: int64(1000 + 1777*i)}
		created, err := d.array.API.Upload(ctx, fmt.Sprintf("small-%d.bin", i+1), c.Reader(), c.Size)
		if err != nil {
			return fmt.Errorf("upload: %w", err)
		}
		d.files[created.ID] = true
	}
	d.line("And %d small files.", more)
	return nil
}

// heal waits until nothing is missing any more although a node is dead for good.
func (d *demo) heal(ctx context.Context, victim int) error {
	d.title("Do nothing: %v after its death what %s held is made again on the others", d.grace, d.array.Nodes[victim].Name())
	began := time.Now()
	err := d.await(ctx, "every file to be on two of the other nodes", func() error {
		_, err := d.twice(ctx, victim)
		return err
	})
	if err != nil {
		return err
	}
	d.line("After %s every file is on two of the %d others.", rounded(time.Since(began)), nodes-1)
	return d.healthy(ctx)
}

// returned waits until what was made again is nowhere a third time.
func (d *demo) returned(ctx context.Context) error {
	began := time.Now()
	err := d.await(ctx, "the surplus to be removed", func() error {
		beside, err := d.twice(ctx, -1)
		if err == nil && beside > 0 {
			err = fmt.Errorf("%d chunks are more than two copies of each half", beside)
		}
		return err
	})
	if err != nil {
		return err
	}
	d.line("After %s what it had and is not needed any more is gone: two copies of each half, as before.", rounded(time.Since(began)))
	return d.healthy(ctx)
}

// healthy shows the status, which is to say so.
func (d *demo) healthy(ctx context.Context) error {
	return d.await(ctx, "raidctl status to say healthy", func() error {
		return d.status(ctx, "healthy")
	})
}

// await tries until there is no error any more, and says the last one.
func (d *demo) await(ctx context.Context, what string, try func() error) (err error) {
	limit := time.Now().Add(d.grace + waitLimit)
	for ; ; time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
	}
}

// twice checks that each part of each of the demo's files is on two nodes other than the dead one
// (-1: none is). It returns how many other chunks of them are on nodes that live. Whoever looks on
// may upload and delete files, too.
func (d *demo) twice(ctx context.Context, dead int) (beside int, err error) {
	files, err := d.array.API.Files(ctx)
	if err != nil {
		return 0, err
	}
	holders, err := d.array.Holders()
	if err != nil {
		return 0, err
	}
	uploads := map[string]bool{}
	for _, f := range files {
		if !d.files[f.ID] {
			continue
		}
		for _, names := range []cluster.Names{f.Part1, f.Part2} {
			var on []int
			for _, name := range names {
				on = append(on, holders[name]...)
				delete(holders, name)
				uploads[uploadOf(name)] = true
			}
			if len(names) != 2 || len(on) != 2 || on[0] == on[1] || slices.Contains(on, dead) {
				return 0, fmt.Errorf("file %d: the %d copies of a half are on nodes %v, counted from 0", f.ID, len(names), on)
			}
		}
	}
	for name := range holders {
		if uploads[uploadOf(name)] {
			beside++
		}
	}
	return beside, nil
}

// uploadOf returns the beginning that the names of all chunks of an upload share, and no others.
func uploadOf(name string) string { return name[:min(len(name), 16)] }
