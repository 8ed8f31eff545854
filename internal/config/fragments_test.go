package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// etc makes a folder like /etc/raid-node with files in it and returns the path of
// its main file.
func etc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "main.toml")
}

func TestFragmentsAreReadInTheOrderOfTheirNamesAndTheLastWins(t *testing.T) {
	path := etc(t, map[string]string{
		"main.toml":            "zone = \"main\"\nreserve = \"1MiB\"\nstate_dir = \"/main\"\n[controller]\nhost = \"main\"",
		"conf.d/10-b.toml":     "[controller]\nhost = \"b\"\nstore_port = 1",
		"conf.d/9-c.toml":      "zone = \"c\"\n[controller]\nhost = \"c\"", // "9" comes after "1"
		"conf.d/B.toml":        "reserve = \"2MiB\"",
		"conf.d/a.toml":        "reserve = \"3MiB\"",
		"conf.d/z.toml.bak":    "zone = 7",
		"conf.d/z.toml~":       "zone = 7",
		"conf.d/z.conf":        "zone = 7",
		"conf.d/README":        "no TOML",
		"conf.d/.#z.toml":      "zone = 7",
		"conf.d/sub/deep.toml": "zone = 7",
		"conf.d/empty.toml":    "",
	})
	n, origins, err := LoadNode(path, []string{"RAID_NODE_CONTROLLER_STORE_PORT=2"})
	if err != nil {
		t.Fatal(err)
	}
	if n.StateDir != "/main" || n.Controller.Host != "c" || n.Controller.StorePort != 2 || n.Zone != "c" || n.Reserve != 3*MiB {
		t.Errorf("%+v", n)
	}
	var b strings.Builder
	if err := n.Print(&b, origins); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for _, want := range []string{
		"host = \"c\"", "# from " + dir + "/conf.d/9-c.toml:3\n", "# from " + dir + "/conf.d/a.toml:1\n", "# from " + path + ":3\n",
		"# environment RAID_NODE_CONTROLLER_STORE_PORT\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestFragmentsAreReadWithoutTheFileBesideThemAndMayBeMissing(t *testing.T) {
	path := etc(t, map[string]string{"conf.d/a.toml": "zone = \"attic\""})
	var n Node
	src := source{program: "raid-node", defaultPath: path, prefix: NodePrefix}
	if r := (&report{origins: Origins{}}); !src.apply(&n, r) || n.Zone != "attic" {
		t.Errorf("%+v, %v", n, r.err())
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(path), "conf.d")); err != nil {
		t.Fatal(err)
	}
	if r := (&report{origins: Origins{}}); !src.apply(&n, r) {
		t.Error(r.err())
	}
}

// Each fragment is as strict as the file, also where another one overrides it.
func TestFragmentsAreRefusedWithTheirOwnPositions(t *testing.T) {
	path := etc(t, map[string]string{
		"main.toml":        "\n\nzon = \"main\"",
		"conf.d/10-b.toml": "[controller]\n store_port = \"x\"",
		"conf.d/20-c.toml": "zone = \"c\"\n[controller]\nstore_port = 5560\nport = 1",
		"conf.d/30-d.toml": "zone = ",
		"conf.d/40-e.toml": "chunk_dir = [\"/a\", \"/b\"]",
	})
	_, _, err := LoadNode(path, []string{"RAID_NODE_CHUNK_DIR=/a,/b"})
	if err == nil {
		t.Fatal("loaded")
	}
	const several = `chunk_dir: several chunk directories are not supported yet; give one, as in "/srv/chunks"`
	want := `main.toml:3:1: zon: unknown key; did you mean zone?
conf.d/10-b.toml:2:15: controller.store_port: want a whole number, got the text "x"
conf.d/20-c.toml:4:1: controller.port: unknown key
conf.d/30-d.toml:1:7: expected value, not end of input
conf.d/40-e.toml:1:1: ` + several + `
environment RAID_NODE_CHUNK_DIR: ` + several
	if got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A value that does not fit is found where the last one stands.
	path = etc(t, map[string]string{"main.toml": "[controller]\nstore_port = 5558", "conf.d/a.toml": "\n\n[controller]\nstore_port = 9000"})
	_, _, err = LoadNode(path, nil)
	if err == nil || !strings.HasPrefix(err.Error(), filepath.Dir(path)+"/conf.d/a.toml:4:14: controller.store_port: 9000 is controller.http_port too") {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableFragmentsAreRefused(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"a folder":        func(dir string) error { return os.Mkdir(filepath.Join(dir, "a.toml"), 0o755) },
		"a dangling link": func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "a.toml")) },
		"too large": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "a.toml"), []byte(strings.Repeat("#\n", maxFile)), 0o600)
		},
		"conf.d is a file": func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) },
	} {
		dir := filepath.Join(filepath.Dir(etc(t, nil)), "conf.d")
		main := filepath.Join(filepath.Dir(dir), "main.toml")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(main, nil, 0o600), spoil(dir)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := LoadNode(main, nil); err == nil || !strings.Contains(err.Error(), "conf.d") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A start, a check and a reload would wait for its writer for ever.
func TestWhatIsNoFileIsRefusedAndNotWaitedFor(t *testing.T) {
	path := etc(t, map[string]string{"main.toml": "", "conf.d/a.toml": "zone = \"a\""})
	dir := filepath.Join(filepath.Dir(path), "conf.d")
	if err := os.Symlink(os.DevNull, filepath.Join(dir, "off.toml")); err != nil {
		t.Fatal(err)
	}
	if n, _, err := LoadNode(path, nil); err != nil || n.Zone != "a" {
		t.Fatalf("with a file that is switched off: %v", err)
	}
	for name, at := range map[string]string{"a fragment": filepath.Join(dir, "pipe.toml"), "the file": path} {
		_ = os.Remove(at)
		if err := syscall.Mkfifo(at, 0o600); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { _, _, err := LoadNode(path, nil); done <- err }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), at+" is no regular file") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s is waited for", name)
			w, err := os.OpenFile(at, os.O_WRONLY, 0) // lets it go
			if err != nil {
				t.Fatal(err)
			}
			w.Close()
			<-done
		}
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
	}
}
