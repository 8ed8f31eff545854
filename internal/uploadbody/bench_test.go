package uploadbody

import (
	"bytes"
	"encoding/base64"
	"io"
	"testing"

	"github.com/raidpi/raidpi/test/kit"
)

func BenchmarkJSONScan(b *testing.B) { benchJSON(b, "") }

func BenchmarkJSONScanLines(b *testing.B) { benchJSON(b, `\r\n`) } // as Java writes them

func benchJSON(b *testing.B, lineBreak string) {
	data := kit.Data(3 << 20)
	text := base64.StdEncoding.EncodeToString(data)
	for i := 76; lineBreak != "" && i < len(text); i += 76 + len(lineBreak) {
		text = text[:i] + lineBreak + text[i:]
		if i > 100_000 { // the rest as it is
			break
		}
	}
	body := []byte(`{"filename":"a","content_type":"b","contents_b64":"` + text + `"}`)
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		j := newJSONUpload(bytes.NewReader(body), int64(len(body)))
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{j}, buf); err != nil {
			b.Fatal(err)
		}
	}
}
