package uploadbody

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/object"
)

// jsonUpload reads the assignment's upload,
//
//	{"filename": "…", "content_type": "…", "contents_b64": "…"}
//
// with its fields in any order, as a stream. Read returns the decoded contents,
// and EOF only when the rest of the body was found to be right. Describe is good
// after that. Fields of other names are read over.
type jsonUpload struct {
	s           *scanner
	b64         decoder
	filename    string
	contentType string
	seen        []string // of fields
	phase       phase
	err         error // sticky
}

// phase says how far a jsonUpload was read.
type phase int

const (
	beforeContents phase = iota
	inContents
	afterContents
)

// The fields.
const (
	fieldFilename    = "filename"
	fieldContentType = "content_type"
	fieldContents    = "contents_b64"
)

// newJSONUpload reads from a body of the given length, -1 when unknown.
func newJSONUpload(body io.Reader, length int64) *jsonUpload {
	window := int64(scanWindow)
	if length >= 0 {
		window = max(min(window, length+1), 64)
	}
	return &jsonUpload{s: newScanner(body, int(window))}
}

// start reads up to the contents, so that what is wrong before them is found
// before anything is stored.
func (j *jsonUpload) start() error {
	if j.phase == beforeContents && j.err == nil {
		if j.err = j.s.skipMark(); j.err == nil {
			j.err = j.s.expect('{', "an object, {\"filename\": …}")
		}
		if j.err == nil {
			j.err = j.fields()
		}
		if j.err == nil && j.phase != inContents {
			j.err = j.finish() // says what is missing
		}
	}
	return j.err
}

// Read implements io.Reader.
func (j *jsonUpload) Read(p []byte) (n int, err error) {
	if err := j.start(); err != nil {
		return 0, err
	}
	for n == 0 && len(p) > 0 && j.phase == inContents {
		var ended bool
		if n, ended, j.err = j.b64.decode(j.s, p); j.err != nil {
			return 0, j.err
		}
		if ended {
			j.phase = afterContents
			if j.err = j.fields(); j.err == nil {
				j.err = j.finish()
			}
			if j.err == nil {
				j.err = io.EOF
			}
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, j.err
}

// fields reads members of the object until its contents begin or it ends.
func (j *jsonUpload) fields() error {
	for {
		more, err := j.s.member(len(j.seen) == 0)
		if err != nil || !more {
			return err
		}
		begun, err := j.field()
		if err != nil || begun {
			return err
		}
	}
}

// field reads one member from behind the opening quote of its name. begun tells
// that it is the contents.
func (j *jsonUpload) field() (begun bool, err error) {
	var buf [len(fieldContents)]byte
	b, whole, err := j.s.text(buf[:0], len(buf))
	if err != nil {
		return false, err
	}
	name := string(b)
	if !whole || name != fieldFilename && name != fieldContentType && name != fieldContents {
		name = ""
	}
	if name != "" && slices.Contains(j.seen, name) {
		return false, httpserver.BadRequest("the field %q comes twice", name)
	}
	if name != "" || len(j.seen) == 0 {
		j.seen = append(j.seen, name) // at most one is empty
	}
	if err = j.s.expect(':', "a colon"); err != nil {
		return false, err
	}
	if name == "" {
		return false, j.s.skip(1)
	}
	c, err := j.s.token()
	switch {
	case err != nil:
		return false, err
	case c == 'n' && name == fieldContentType: // as if it were missing
		return false, j.s.literal("ull")
	case c != '"':
		return false, j.s.unexpected(c, "a string as the value of "+name)
	}
	switch name {
	case fieldFilename:
		j.filename, err = j.value(name, MaxFilename*4)
		if err == nil {
			err = checkFilename(j.filename)
		}
	case fieldContentType:
		j.contentType, err = j.value(name, maxContentType)
		if err == nil {
			j.contentType, err = checkContentType(j.contentType)
		}
	case fieldContents:
		j.phase = inContents
		return true, nil
	}
	return false, err
}

func (j *jsonUpload) value(name string, limit int) (string, error) {
	b, whole, err := j.s.text(nil, limit)
	if err == nil && !whole {
		err = httpserver.BadRequest("the value of %q is too long", name)
	}
	return string(b), err
}

// finish checks what can be checked only behind the object. A content type that is
// missing is as one that is empty.
func (j *jsonUpload) finish() error {
	if err := j.s.end(); err != nil {
		return err
	}
	var missing []string
	for _, name := range []string{fieldFilename, fieldContents} {
		if !slices.Contains(j.seen, name) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return httpserver.BadRequest("the JSON lacks %s; it needs %s and %s, and may have %s", strings.Join(missing, " and "),
			fieldFilename, fieldContents, fieldContentType)
	}
	return nil
}

// Describe implements object.Upload's.
func (j *jsonUpload) Describe() (object.Description, error) {
	return object.Description{Filename: j.filename, ContentType: cmp.Or(j.contentType, defaultContentType)}, nil
}
