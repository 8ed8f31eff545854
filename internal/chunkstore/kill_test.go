package chunkstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// victimEnv makes this test binary a process that writes chunks until it is
// killed, into the directory that it names.
const victimEnv = "RAIDPI_TEST_VICTIM"

// victim writes chunks from several goroutines, and their names, CRC-32Cs and
// lengths to standard output when they are durable.
func victim(dir string) int {
	d, err := chunkstore.OpenDir(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := chunkstore.Open(chunkstore.Config{FS: d})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var out sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				c := newChunk(&testing.B{}, (w%2)*300_000+i, uint32(w))
				if err := s.Write(context.Background(), c.meta, c.payload); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Printf("%s %d %d\n", c.name(), c.crc(), c.meta.Length)
				out.Unlock()
			}
		}()
	}
	select {}
}

func TestKilledProcessLeavesNoPartialChunk(t *testing.T) {
	dir := t.TempDir()
	type written struct {
		crc    uint32
		length int64
	}
	acknowledged := map[raid.ChunkName]written{}
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), victimEnv+"="+dir)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Not before something is acknowledged, however slow the machine is.
		kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		first := true
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if first {
				kill.Reset(time.Duration(50+round*53) * time.Millisecond)
				first = false
			}
			var name string
			var w written
			// The last line may be torn.
			if n, _ := fmt.Sscanf(lines.Text(), "%s %d %d", &name, &w.crc, &w.length); n == 3 && len(name) == raid.ChunkNameLen {
				acknowledged[raid.ChunkName(name)] = w
			}
		}
		kill.Stop()
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the process ended by itself: %v", err)
		}
		withStore(t, dir, func(s *chunkstore.Store) {
			if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
				t.Errorf("unfinished files after a restart: %v, %v", left, err)
			}
			all := list(t, s, 100, 0, 100)
			listed := map[raid.ChunkName]bool{}
			for _, name := range all {
				listed[name] = true
				m, err := s.Meta(t.Context(), name)
				if err != nil {
					t.Fatalf("chunk %s is visible and broken: %v", name, err)
				}
				crc, _ := raid.CombineBlocks(m.Blocks, m.Length)
				if err := s.Verify(t.Context(), name, m.Length, crc); err != nil {
					t.Fatalf("chunk %s is visible and broken: %v", name, err)
				}
			}
			for name, w := range acknowledged {
				if err := s.Verify(t.Context(), name, w.length, w.crc); err != nil || !listed[name] {
					t.Fatalf("acknowledged chunk %s is gone: %v", name, err)
				}
			}
			kit.Eventually(t, "the count is right", func() bool { return s.Stats().Chunks == int64(len(all)) })
		})
	}
	if len(acknowledged) == 0 {
		t.Fatal("no chunk was acknowledged, so nothing was tested")
	}
}
