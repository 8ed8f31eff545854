package node

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/wear"
)

// newMeter makes the meter that counts the writes to the disk; nil without the machine's files.
func (d *daemon) newMeter(l *session) *wear.Meter {
	if d.cfg.Machine == nil {
		return nil
	}
	dir := d.cfg.ChunkDir
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		l.log.Warn("What is written to the disk is not counted: where chunk_dir lies can't be told", "reason", err)
		return nil
	}
	return wear.New(wear.Config{
		Machine: d.cfg.Machine, Dir: dir, Device: uint64(st.Dev), ID: string(d.disk.ID), //nolint:unconvert // it is 32 bits wide on some processors
		Records: l.store, Stored: func() int64 { return l.store.Stats().Stored }, Log: l.log,
	})
}
