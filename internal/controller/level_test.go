package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
	"github.com/raidpi/raidpi/internal/stripe/xor"
)

// newXORArray is an array whose level needs two of three parts, each with one copy.
func newXORArray(t *testing.T, nodes int, tune func(*Config)) *array {
	return newArray(t, nodes, func(c *Config) {
		c.Levels = append(stripe.Known(), xor.Level())
		c.Level = xor.Name
		if tune != nil {
			tune(c)
		}
	})
}

// partsOf are the chunk names of each part of a file, as /info says them.
func (a *array) partsOf(id int64) (parts [][]string) {
	a.t.Helper()
	resp, err := http.Get(fmt.Sprintf("%s/files/%d/info", a.url, id))
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		a.t.Fatalf("%s: %v", b, err)
	}
	for part := 1; ; part++ {
		names, there := fields[fmt.Sprintf("part%d_filenames", part)].(string)
		if !there {
			return parts
		}
		parts = append(parts, strings.Split(names, ","))
	}
}

// holder is the index of the node that has a chunk; -1: none has.
func (a *array) holder(name string) int {
	for i, n := range a.nodes {
		if _, has := n.chunks()[name]; has {
			return i
		}
	}
	return -1
}

// The sizes make stripes (of 256 KiB) of no, one, odd and even bytes, and several.
var xorSizes = []int{0, 1, 2, 65_537, 256 << 10, 700_001}

func TestALevelOfThreePartsIsStoredApartAndDescribed(t *testing.T) {
	a := newXORArray(t, 4, nil)
	for _, size := range xorSizes {
		b := randomBytes(size)
		id := a.upload(b).ID
		a.mustEqual(id, b)
		parts, stripes := a.partsOf(id), max(1, (size+256<<10-1)/(256<<10))
		if len(parts) != 3 {
			t.Fatalf("%d bytes: info has the names of %d parts", size, len(parts))
		}
		for s := range stripes {
			used := map[int]bool{}
			for p, names := range parts {
				if len(names) != stripes {
					t.Fatalf("%d bytes: part %d has chunks %v in %d stripes", size, p+1, names, stripes)
				}
				used[a.holder(names[s])] = true
			}
			if len(used) != 3 || used[-1] {
				t.Errorf("%d bytes: parts of stripe %d lie on nodes %v", size, s, used)
			}
		}
	}
}

func TestAFileIsReadWithAnyOnePartGone(t *testing.T) {
	a := newXORArray(t, 3, nil)
	content, ids := map[int64][]byte{}, []int64{}
	for _, size := range xorSizes {
		b := randomBytes(size)
		id := a.upload(b).ID
		content[id], ids = b, append(ids, id)
	}
	for gone := range a.nodes {
		a.nodes[gone].stop()
		a.awaitUp(2)
		for _, id := range ids {
			a.mustEqual(id, content[id])
		}
		big := ids[len(ids)-1]
		for _, r := range [][2]int{{0, 0}, {65535, 65536}, {131071, 131073}, {262143, 262145}, {1, 699_999}, {700_000, 700_000}} {
			status, got := a.download(big, fmt.Sprintf("%d-%d", r[0], r[1]))
			if status != http.StatusPartialContent || !bytes.Equal(got, content[big][r[0]:r[1]+1]) {
				t.Errorf("without node %d, bytes %v: status %d, %d bytes", gone+1, r, status, len(got))
			}
		}
		a.startNode(a.nodes[gone], "")
		a.awaitUp(3)
	}
}

// Both halves are gone, which the third part alone is no help for.
func TestAFileWithTooFewPartsIsNotMadeUp(t *testing.T) {
	a := newXORArray(t, 3, nil)
	id := a.upload(randomBytes(1000)).ID
	parts := a.partsOf(id)
	for _, names := range parts[:2] {
		a.nodes[a.holder(names[0])].stop()
	}
	a.awaitUp(1)
	if status, _ := a.download(id, ""); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}

func TestALostPartIsMadeAgainFromTheOthers(t *testing.T) {
	a := newXORArray(t, 4, func(c *Config) { c.Grace = time.Second })
	b := randomBytes(700_001)
	id := a.upload(b).ID
	lost := a.holder(a.partsOf(id)[0][0])
	a.nodes[lost].stop()
	a.nodes[lost].dir += "-gone"
	whole := func() bool { return a.isWhole(id, 3) }
	a.eventually("each part is on a node that is there, apart from the others", whole)
	// And so well that another node may go.
	next := a.holder(a.partsOf(id)[1][0])
	a.nodes[next].stop()
	a.awaitUp(2)
	a.mustEqual(id, b)
}

func TestARottenPartIsMadeAgainFromTheOthers(t *testing.T) {
	a := newXORArray(t, 4, nil)
	b := randomBytes(200_001)
	id := a.upload(b).ID
	name := a.partsOf(id)[1][0]
	path := a.nodes[a.holder(name)].chunks()[name]
	chunk, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		chunk[i] ^= 0x55
	}
	if err := os.WriteFile(path, chunk, 0o600); err != nil {
		t.Fatal(err)
	}
	a.mustEqual(id, b)
	a.eventually("the rotten part has another chunk", func() bool {
		now := a.partsOf(id)[1][0]
		return now != name && now != "" && a.holder(now) >= 0
	})
	a.mustEqual(id, b)
}

// isWhole reports whether all parts of a file are on so many nodes that are up, no two of
// a stripe on one.
func (a *array) isWhole(id int64, want int) bool {
	parts := a.partsOf(id)
	if len(parts) != want {
		return false
	}
	for s := range parts[0] {
		used := map[int]bool{}
		for _, names := range parts {
			if s >= len(names) {
				return false
			}
			used[a.holder(names[s])] = true
		}
		if len(used) != want || used[-1] {
			return false
		}
	}
	return true
}

func TestAnUnknownLevelIsRefused(t *testing.T) {
	a := &array{t: t, dir: t.TempDir(), log: testLog(t), tune: func(c *Config) { c.Level = "raid7" }}
	if err := a.tryController(); err == nil || !strings.Contains(err.Error(), raid.ErrInvalid.Error()) {
		t.Errorf("%v", err)
	}
}
