package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

const (
	gib = 1 << 30

	controllerCeiling = 96 * mib
	nodeCeiling       = 48 * mib
)

// memoryBlock is repeated to make 1 GiB. Its length is a multiple of three, so
// its base64 can be repeated too: encoding 1 GiB under the race detector would
// take minutes.
const (
	memoryBlock  = 3 * mib
	memoryBlocks = gib/memoryBlock + 1
	memorySize   = int64(memoryBlock) * memoryBlocks
)

// repeated reads b n times.
func repeated(b []byte, n int) io.Reader {
	all := make([]io.Reader, n)
	for i := range all {
		all[i] = bytes.NewReader(b)
	}
	return io.MultiReader(all...)
}

// jsonUpload is the assignment's upload. The fields come in the order that is
// hardest for the controller: the name last.
func jsonUpload(block []byte) io.Reader {
	text := make([]byte, base64.StdEncoding.EncodedLen(len(block)))
	base64.StdEncoding.Encode(text, block)
	return io.MultiReader(strings.NewReader(`{"contents_b64":"`), repeated(text, memoryBlocks),
		strings.NewReader(`","content_type":"image/png","filename":"big.png"}`))
}

func TestMemoryCeiling(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Joined: true})
	block := content(memoryBlock).Bytes()
	hash := sha256.New()
	_, err := io.Copy(hash, repeated(block, memoryBlocks))
	a.must(err)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.API.URL+"/files", jsonUpload(block))
	a.must(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.API.Do(req, http.StatusCreated)
	a.must(err)
	var created cluster.Created
	a.must(json.NewDecoder(resp.Body).Decode(&created))
	resp.Body.Close()
	a.staysUnder("a JSON upload of 1 GiB", controllerCeiling, nodeCeiling)

	sum, size, err := a.API.Digest(t.Context(), created.ID)
	a.must(err)
	if size != memorySize || !bytes.Equal(sum[:], hash.Sum(nil)) {
		t.Fatalf("%d bytes with SHA-256 %x came back for %d with %x", size, sum, memorySize, hash.Sum(nil))
	}
	a.staysUnder("its download", controllerCeiling, nodeCeiling)

	info, err := a.API.Info(t.Context(), created.ID)
	a.must(err)
	if info.Size != memorySize || info.ContentType != "image/png" || info.Filename != "big.png" {
		t.Errorf("the file is %d bytes of %s called %q", info.Size, info.ContentType, info.Filename)
	}
	a.must(a.API.Delete(t.Context(), created.ID))
	a.eventually("the deleted file's chunks go", settled, func() error {
		holders, err := a.Holders()
		if err == nil && len(holders) > 0 {
			err = fmt.Errorf("%d chunks are left", len(holders))
		}
		return err
	})
}

// staysUnder checks the highest resident memory of each daemon since its start.
func (a *array) staysUnder(what string, controller, node int64) {
	a.t.Helper()
	for _, d := range a.Daemons() {
		u, err := d.Usage()
		a.must(err)
		limit := node
		if d == a.Controller {
			limit = controller
		}
		if u.PeakRSS > limit {
			a.t.Errorf("%s: %s had %d MiB of memory, want at most %d", what, d.Name(), u.PeakRSS/mib, limit/mib)
		}
		a.t.Logf("%s: %s peaked at %d MiB", what, d.Name(), u.PeakRSS/mib)
	}
}
