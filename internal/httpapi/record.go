package httpapi

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
)

// record is a file in a listing and in /info, but for the chunk names of its
// parts, which follow it: they can be long.
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

	levels   stripe.Levels
	verified string // goes with the next ones
}

func (a *API) newRecorder(w *bufio.Writer) *recorder {
	r := &recorder{w: w, levels: a.cfg.Levels}
	r.enc = json.NewEncoder(&r.buf)
	r.enc.SetEscapeHTML(false)
	return r
}

// names are chunk names until the first error.
type names = iter.Seq2[raid.ChunkName, error]

// given yields the names that are there.
func given(f *raid.File) func(part int) names {
	return func(part int) names { return yielded(f.NamesOf(part)) }
}

func yielded(list []raid.ChunkName) names {
	return func(yield func(raid.ChunkName, error) bool) {
		for _, n := range list {
			if !yield(n, nil) {
				return
			}
		}
	}
}

// partFields is for how many parts a record always has a field: those that the assignment
// names.
const partFields = 2

// parts is for how many parts a file's record has a field.
func (r *recorder) parts(f *raid.File) int {
	level, _ := r.levels.Named(f.Level) // one of a later version has no parts
	return max(level.Parts, partFields, len(f.PartNames))
}

// write writes one file with the chunk names of each part of its level, which are of [A-Za-z0-9] and
// so need no escaping. Its error is one of reading them, or the first of w's.
func (r *recorder) write(f *raid.File, namesOf func(part int) names) error {
	r.buf.Reset()
	err := r.enc.Encode(record{
		ID: f.ID, Filename: f.Filename, Size: f.Size, ContentType: f.ContentType, Created: f.Created,
		SHA256: hex.EncodeToString(f.SHA256[:]), Stripes: f.Stripes, Degraded: f.Degraded, Lab: f.Lab, Verified: r.verified,
	})
	if err != nil {
		return err
	}
	r.w.Write(bytes.TrimSuffix(r.buf.Bytes(), []byte("}\n")))
	for part := 1; part <= r.parts(f); part++ {
		if err := r.names(part, namesOf(part)); err != nil {
			return err
		}
	}
	_, err = r.w.WriteString("}")
	return err
}

// names writes the field with a part's chunk names.
func (r *recorder) names(part int, list names) error {
	_, err := fmt.Fprintf(r.w, `,"part%d_filenames":"`, part)
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
			return err // the client is gone: no use in reading on
		}
	}
	if err == nil {
		err = r.w.WriteByte('"')
	}
	return err
}
