package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/raidpi/raidpi/test/bench/inside"
	"github.com/raidpi/raidpi/test/cluster"
)

// What comparing a node of reconcileChunks should take.
const (
	reconcileChunks = 1_000_000
	reconcileTime   = 60 // s, for so many chunks
	reconcileMemory = 20 // MiB more than before, of the controller and of the node
)

// reconcile measures how long it takes to compare what a node holds with the catalog,
// and what memory. All is as it should be, so nothing is read again.
func (s *suite) reconcile(ctx context.Context) (err error) {
	a, err := cluster.Start(ctx, cluster.Config{
		Dir: filepath.Join(s.dir, "reconcile"), Bin: s.bin, Nodes: 1, Timeout: 10 * time.Minute,
		ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=1s"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.Terminate(time.Minute); err != nil {
		return err
	}
	began := time.Now()
	id, err := a.NodeID(0)
	if err != nil {
		return err
	}
	chunks, err := inside.FillNode(ctx, filepath.Join(a.Dir(), "controller", "catalog.db"), a.ChunkDir(0), id, s.scale.held)
	if err != nil {
		return fmt.Errorf("make chunks: %w", err)
	}
	s.say("reconcile: %d chunks were made in %v", chunks, time.Since(began).Round(time.Second))
	if err := a.Controller.Start(); err != nil {
		return err
	}
	if err := a.WaitUp(ctx, 0); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // let the start be over, and settle
	idle, err := a.Controller.Usage()
	if err != nil {
		return err
	}
	earlier := a.Nodes[0].LogText() // of its first start, which had nothing to scan
	if err := errors.Join(a.Controller.ResetPeak(), a.Nodes[0].Start()); err != nil {
		return err
	}
	began = time.Now()
	if err := a.WaitUp(ctx, 1); err != nil {
		return err
	}
	nodeIdle, err := a.Nodes[0].Usage()
	if err != nil {
		return err
	}
	// A node reads all trailers at its start, whether it is compared or not, and is not
	// compared before.
	if err := a.Wait(ctx, "the node's chunks to be scanned", func(context.Context) bool {
		return strings.Contains(strings.TrimPrefix(a.Nodes[0].LogText(), earlier), "Chunks scanned")
	}); err != nil {
		return err
	}
	start := time.Since(began)
	began = time.Now()
	var unexplained *int64
	if err := a.Wait(ctx, "the node to be compared", func(ctx context.Context) bool {
		unexplained, err = a.API.Unexplained(ctx)
		return err == nil && unexplained != nil
	}); err != nil {
		return err
	}
	took := time.Since(began)
	if *unexplained != 0 {
		return fmt.Errorf("%d chunks are unexplained, and each has a row", *unexplained)
	}
	peak, err := a.Controller.Usage()
	if err != nil {
		return err
	}
	nodePeak, err := a.Nodes[0].Usage()
	if err != nil {
		return err
	}
	note, most := fmt.Sprintf("%d chunks", chunks), 0.0
	if chunks == reconcileChunks { // of fewer the start itself would be measured
		most = reconcileTime
	}
	s.table.add(row{figure: "a node's start, until its chunks are scanned", value: start.Seconds(), unit: "s", cost: true, note: note})
	s.table.add(row{figure: "reconcile the node after that", value: took.Seconds(), unit: "s", target: most, cost: true, note: note})
	s.table.add(row{figure: "memory while reconciling, controller", value: float64(peak.PeakRSS-idle.RSS) / mib, unit: "MiB", target: reconcileMemory, cost: true, note: fmt.Sprintf("more than the %d MiB before", idle.RSS/mib)})
	s.table.add(row{figure: "memory while reconciling, node", value: float64(nodePeak.PeakRSS-nodeIdle.RSS) / mib, unit: "MiB", target: reconcileMemory, cost: true, note: fmt.Sprintf("more than the %d MiB before", nodeIdle.RSS/mib)})
	s.table.add(row{figure: "CPU of controller and node, reconcile", value: (peak.CPU - idle.CPU + nodePeak.CPU).Seconds() * 1e6 / float64(chunks), unit: "µs/chunk", cost: true})
	return nil
}
