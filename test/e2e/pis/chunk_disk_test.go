//go:build nspawn

package pis

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/nspawn"
)

// TestUSBDiskTakesTheChunks follows docs/chunk-disk.md from its second step on, and
// then takes the disk away.
func TestUSBDiskTakesTheChunks(t *testing.T) {
	t.Parallel()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "chunk-disk.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(?:sh|ini)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 4 {
		t.Fatalf("docs/chunk-disk.md has %d blocks of lines to paste, want a step in each of the first four", len(blocks))
	}

	s := newLab(t)
	device, err := s.lab.AddDisk(t.Context(), "usb", "2G", "chunks") // the first step
	if err != nil {
		t.Fatal(err)
	}
	h := s.add("usb", "10.99.0.11", func(c *nspawn.HostConfig) { c.Devices = []string{device} })
	boot(t, h)
	h.paste("apt")
	h.paste("node")
	h.must(blocks[1][1])
	h.check(h.WriteFile("/etc/systemd/system/raid-node.service.d/override.conf", blocks[2][1]))
	h.must("systemctl daemon-reload\n" + blocks[3][1])
	if state := h.property("raid-node", "ActiveState"); state != "active" {
		t.Fatalf("with its chunks on the disk raid-node is %s", state)
	}
	h.must("test -f /mnt/usb/chunks/raid-node.json")

	h.must("systemctl stop raid-node && umount /mnt/usb")
	h.all("systemctl start --no-block raid-node")
	h.says("raid-node", "disk not mounted", "/mnt/usb")
	h.logs("raid-node", "disk not mounted")
	if left := h.must("find /mnt/usb -mindepth 1"); left != "" {
		t.Errorf("in the place of the disk raid-node made %s", strings.TrimSpace(left))
	}
	h.must("mount /mnt/usb")
	h.becomesActive("raid-node") // by itself
}
