package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// wholeStory does what every build must be able to do.
func wholeStory(t *testing.T, bin string) {
	a := start(t, cluster.Config{Nodes: 4, Joined: true, Bin: bin, ControllerEnv: []string{smallStripes}})
	stored := map[int64]cluster.Content{}
	for _, size := range []int64{0, 1, 2, 65_535, 65_537, 512<<10 + 1, 9*mib + 7} {
		c := content(size)
		created := a.upload(c)
		if created.Degraded {
			t.Errorf("a file of %d bytes on four nodes is degraded", size)
		}
		stored[created.ID] = c
	}
	a.must(a.Nodes[3].Kill())
	for id, c := range stored {
		a.check(id, c)
	}
	a.must(a.Nodes[3].Start())
	a.must(a.WaitReady(t.Context(), 4))
	for id := range stored {
		a.must(a.API.Delete(t.Context(), id))
		delete(stored, id)
		if len(stored) < 4 {
			break
		}
	}
	a.becomesWhole()
	if err := a.Terminate(settled); err != nil {
		t.Errorf("orderly end: %v", err)
	}
	for _, d := range a.Daemons() {
		a.must(d.Start())
	}
	a.must(a.WaitReady(t.Context(), 4))
	for id, c := range stored {
		a.check(id, c)
	}
}

func TestFilesComeBackEqual(t *testing.T) {
	t.Parallel()
	wholeStory(t, programs.race)
}

func TestAssignmentsUploadWorks(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4})
	c := content(100_001)
	created, err := a.API.UploadJSON(t.Context(), "photo.jpg", "image/jpeg", c.Bytes())
	a.must(err)
	a.check(created.ID, c)
	info, err := a.API.Info(t.Context(), created.ID)
	a.must(err)
	if info.Filename != "photo.jpg" || info.ContentType != "image/jpeg" || info.Size != c.Size || len(info.Part1) != 2 || len(info.Part2) != 2 {
		t.Errorf("its info is %+v", info)
	}
}

func TestRaidctlRoundTrip(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4})
	raidctl := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(programs.plain, "raidctl"), args...)
		cmd.Env = append(os.Environ(), "RAID_CONTROLLER_URL="+a.API.URL)
		cmd.Dir = a.Dir()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("raidctl %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return string(out)
	}
	want := content(5 * mib).Bytes()
	a.must(os.WriteFile(filepath.Join(a.Dir(), "letter.bin"), want, 0o644))
	raidctl("upload", "letter.bin")
	if list := raidctl("ls"); !strings.Contains(list, "letter.bin") {
		t.Errorf("raidctl ls does not list the file:\n%s", list)
	}
	a.must(os.Remove(filepath.Join(a.Dir(), "letter.bin")))
	raidctl("download", "1")
	got, err := os.ReadFile(filepath.Join(a.Dir(), "letter.bin"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("raidctl download 1: %d bytes, equal: %v (%v)", len(got), bytes.Equal(got, want), err)
	}
	for _, command := range [][]string{{"info", "1"}, {"status"}, {"nodes"}, {"nodes", "--json"}} {
		if raidctl(command...) == "" {
			t.Errorf("raidctl %s says nothing", strings.Join(command, " "))
		}
	}
	raidctl("rm", "1")
	if files := a.files(); len(files) != 0 {
		t.Errorf("after raidctl rm there are %d files", len(files))
	}
}

func TestBadConfigurationEndsWithStatus78(t *testing.T) {
	t.Parallel()
	for _, daemon := range []string{"raid-controller", "raid-node"} {
		conf := filepath.Join(t.TempDir(), "bad.toml")
		if err := os.WriteFile(conf, []byte("state_dir = \"/tmp\"\nstate_dri = \"/tmp\"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"--config", conf}, {"--check-config", "--config", conf}} {
			cmd := exec.CommandContext(t.Context(), filepath.Join(programs.plain, daemon), args...)
			out, _ := cmd.CombinedOutput() // its status is looked at below
			if code := cmd.ProcessState.ExitCode(); code != 78 {
				t.Errorf("%s with an unknown key: status %d, want 78", daemon, code)
			}
			if !bytes.Contains(out, []byte("bad.toml:2:1")) || !bytes.Contains(out, []byte("state_dri")) {
				t.Errorf("%s with an unknown key says %q, want the place bad.toml:2:1 and the key", daemon, out)
			}
		}
	}
}
