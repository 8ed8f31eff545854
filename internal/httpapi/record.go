package httpapi

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"iter"

	"github.com/raidpi/raidpi/internal/raid"
)

// record is a file in a listing and in /info, but for the chunk names of its two
// halves, which follow it: they can be long.
type record struct {
	ID          raid.FileID `json:"id"`
	Filename    string      `json:"filename"`
	Size        int64       `json:"size"`
	ContentType string      `json:"content_type"`
	Created     string      `json:"created"`
	SHA256      string      `json:"sha256"`
	Stripes     int64       `json:"stripes"`
	Degraded    bool        `json:"degraded"`
	Lab         bool        `json:"lab"`
	Verified    string      `json:"verified,omitempty"` // in /info alone
}

// recorder writes records as JSON, one after the other.
type recorder struct {
	w   *bufio.Writer
	buf bytes.Buffer
	enc *json.Encoder

	verified string // goes with the next ones
}

func newRecorder(w *bufio.Writer) *recorder {
	r := &recorder{w: w}
	r.enc = json.NewEncoder(&r.buf)
	r.enc.SetEscapeHTML(false)
	return r
}

// names are chunk names until the first error.
type names = iter.Seq2[raid.ChunkName, error]

// given yields names that are there.
func given(list []raid.ChunkName) names {
	return func(yield func(raid.ChunkName, error) bool) {
		for _, n := range list {
			if !yield(n, nil) {
				return
			}
		}
	}
}

// write writes one file with the given chunk names, which are of [A-Za-z0-9] and
// so need no escaping. Its error is one of reading them, or the first of w's.
func (r *recorder) write(f *raid.File, part1, part2 names) error {
	r.buf.Reset()
	err := r.enc.Encode(record{
		ID: f.ID, Filename: f.Filename, Size: f.Size, ContentType: f.ContentType, Created: f.Created,
		SHA256: hex.EncodeToString(f.SHA256[:]), Stripes: f.Stripes, Degraded: f.Degraded, Lab: f.Lab, Verified: r.verified,
	})
	if err != nil {
		return err
	}
	r.w.Write(bytes.TrimSuffix(r.buf.Bytes(), []byte("}\n")))
	if err := r.names(`,"part1_filenames":"`, part1); err != nil {
		return err
	}
	if err := r.names(`","part2_filenames":"`, part2); err != nil {
		return err
	}
	_, err = r.w.WriteString(`"}`)
	return err
}

func (r *recorder) names(before string, list names) error {
	_, err := r.w.WriteString(before)
	first := true
	for n, failed := range list {
		if failed != nil {
			return failed
		}
		if !first {
			r.w.WriteByte(',')
		}
		first = false
		if _, err = r.w.WriteString(string(n)); err != nil {
			break // the client is gone: no use in reading on
		}
	}
	return err
}
