package wear

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// machine is the files of a machine's kernel, in a folder.
type machine struct {
	t   testing.TB
	dir string
}

func newMachine(t testing.TB) *machine { return &machine{t, t.TempDir()} }

func (m *machine) fs() fs.FS { return os.DirFS(m.dir) }

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// write makes a file of the kernel.
func (m *machine) write(name, content string) {
	m.t.Helper()
	p := filepath.Join(m.dir, name)
	m.must(os.MkdirAll(filepath.Dir(p), 0o755))
	m.must(os.WriteFile(p, []byte(content), 0o644))
}

func (m *machine) link(name, to string) {
	m.t.Helper()
	p := filepath.Join(m.dir, name)
	m.must(os.MkdirAll(filepath.Dir(p), 0o755))
	target, err := filepath.Rel(filepath.Dir(p), filepath.Join(m.dir, to))
	m.must(err)
	m.must(os.Symlink(target, p))
}

// disk adds a whole disk with its partitions, as the kernel shows them. Numbers are given
// in their order.
func (m *machine) disk(name, number string, partitions ...[2]string) {
	m.t.Helper()
	at := "sys/devices/platform/some/bus/block/" + name
	m.write(at+"/dev", number+"\n")
	m.write(at+"/stat", stat(0))
	m.link("sys/block/"+name, at)
	m.link("sys/class/block/"+name, at)
	m.link("sys/dev/block/"+number, at)
	for i, p := range partitions {
		m.write(at+"/"+p[0]+"/dev", p[1]+"\n")
		m.write(at+"/"+p[0]+"/partition", string(rune('1'+i))+"\n")
		m.write(at+"/"+p[0]+"/stat", stat(1))
		m.link("sys/class/block/"+p[0], at+"/"+p[0])
		m.link("sys/dev/block/"+p[1], at+"/"+p[0])
	}
}

// mapped has a disk lie on others.
func (m *machine) mapped(name string, on ...string) {
	for _, under := range on {
		m.link("sys/devices/platform/some/bus/block/"+name+"/slaves/"+under, "sys/class/block/"+under)
	}
}

// stat returns the kernel's text on a disk to which so many bytes were written.
func stat(bytes uint64) string {
	return strings.Join([]string{" 5191", "2404", "440514", "3017", "88", "31", itoa(bytes / sector), "77", "0", "2000", "3100", "0", "0", "0", "0", "9", "6"}, "  ") + "\n"
}

func (m *machine) wrote(disk string, bytes uint64) {
	m.t.Helper()
	m.write("sys/devices/platform/some/bus/block/"+disk+"/stat", stat(bytes))
}

// numbered is a st_dev.
func numbered(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }

// newEmpty is a machine whose kernel shows nothing.
func newEmpty() fs.FS { return fstest.MapFS{} }
