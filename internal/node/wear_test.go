package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// fakeKernel is a folder with the files of a machine whose disk is an eMMC, wherever
// folders of tests lie.
func fakeKernel(t *testing.T) (dir, stat string) {
	t.Helper()
	dir = t.TempDir()
	var st unix.Stat_t
	must(t, unix.Stat(dir, &st))
	write := func(name, content string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	write("sys/devices/block/mmcblk0/device/type", "MMC\n")
	write("sys/devices/block/mmcblk0/device/life_time", "0x03 0x02\n")
	write("sys/devices/block/mmcblk0/stat", "0 0 0 0 0 0 2048 0 0 0 0\n")
	write("sys/class/block/mmcblk0/dev", "179:0\n")
	// A folder in memory, or on btrfs, has no disk of its own: then this line tells.
	write("proc/self/mountinfo", "1 1 0:1 / / rw - btrfs /dev/mmcblk0 rw\n")
	must(t, os.MkdirAll(filepath.Join(dir, "sys/dev/block"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "sys/block"), 0o755))
	must(t, os.Symlink("../devices/block/mmcblk0", filepath.Join(dir, "sys/block/mmcblk0")))
	for _, number := range []string{"179:0", fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))} {
		must(t, os.Symlink("../../devices/block/mmcblk0", filepath.Join(dir, "sys/dev/block", number)))
	}
	return dir, filepath.Join(dir, "sys/devices/block/mmcblk0/stat")
}

func TestANodeTellsHowItsDiskIsUsedUp(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	kernel, stat := fakeKernel(t)
	n.cfg.Machine = os.DirFS(kernel)
	stop := n.start()
	s := c.session()
	kit.Eventually(t, "the node tells of its disk", func() bool { return c.lastBeat().Wear.Source == raid.WearOfDevice })
	if w := c.lastBeat().Wear; w.Device != "mmcblk0" || w.Medium != raid.MediumEMMC || w.LifeUsed != 30 || w.Written != 0 || w.Stored != 0 {
		t.Errorf("at its start %+v", w)
	}
	for range 3 {
		must(t, newChunk(t, 100_000).store(s))
	}
	must(t, os.WriteFile(stat, []byte("0 0 0 0 0 0 6144 0 0 0 0\n"), 0o644))
	stop() // it counts once more, and keeps that
	n.start()
	kit.Eventually(t, "the counts are there again", func() bool { b := c.lastBeat(); return !b.Draining && b.Wear.Stored > 0 })
	if w := c.lastBeat().Wear; w.Stored != 300_000 || w.Written != 4096*512 || w.Days[0].Stored != 300_000 {
		t.Errorf("after a restart %+v", w)
	}
}

func TestANodeThatDoesNotCountSaysNothing(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	stop := n.start()
	s := c.session()
	must(t, newChunk(t, 1000).store(s))
	kit.Eventually(t, "a heartbeat tells of the chunk", func() bool { return c.lastBeat().Chunks == 1 })
	if w := c.lastBeat().Wear; w != (raid.Wear{}) {
		t.Errorf("%+v", w)
	}
	stop()
	if _, err := os.Stat(filepath.Join(n.cfg.ChunkDir, "raid-node.wear")); !os.IsNotExist(err) {
		t.Errorf("it keeps a record all the same: %v", err)
	}
}
