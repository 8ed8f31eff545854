package httpapi

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/raidpi/raidpi/internal/object"
)

const (
	// formBuffer is how much of a form is read at once, in bytes.
	formBuffer = 64 << 10
	// maxPartHeader is how much of a body may be read while looking for the next
	// part, in bytes; mime/multipart would collect 10 MiB of headers.
	maxPartHeader = 128 << 10
)

// formUpload reads multipart/form-data (RFC 7578): its Read returns the contents
// of the first part with a filename, and EOF only when the rest of the form holds
// no second one.
type formUpload struct {
	body        io.Reader
	window      *headerLimit
	parts       *multipart.Reader
	file        *multipart.Part
	filename    string
	contentType string
	err         error // sticky
}

// newFormUpload reads up to the file. name, unless empty, replaces the filename
// in the form.
func newFormUpload(body io.Reader, boundary, name string) (*formUpload, error) {
	u := &formUpload{body: body, window: &headerLimit{src: bufio.NewReaderSize(body, formBuffer)}}
	u.parts = multipart.NewReader(u.window, boundary)
	part, filename, err := u.nextFile()
	if err == io.EOF { //nolint:errorlint // multipart returns it bare
		return nil, bad("the form has no file; send one with, for example: curl -F file=@NAME URL")
	}
	if err != nil {
		return nil, err
	}
	u.file, u.filename = part, filename
	if name != "" {
		u.filename = name
	}
	if err := checkFilename(u.filename); err != nil {
		return nil, err
	}
	u.contentType, err = checkContentType(part.Header.Get("Content-Type"))
	return u, err
}

// nextFile goes to the next part that has a filename, reading over others.
func (u *formUpload) nextFile() (*multipart.Part, string, error) {
	for {
		u.window.left = maxPartHeader
		part, err := u.parts.NextRawPart()
		if err != nil {
			return nil, "", u.explain(err)
		}
		u.window.left = -1
		name, ok, err := partFilename(part)
		if err != nil || ok {
			return part, name, err
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return nil, "", u.explain(err)
		}
	}
}

// Read implements io.Reader.
func (u *formUpload) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.file.Read(p)
	if err == io.EOF { //nolint:errorlint // multipart returns it bare
		err = u.finish()
	}
	u.err = u.explain(err)
	return n, u.err
}

// finish reads the form to the end of the body and returns EOF when all is well.
func (u *formUpload) finish() error {
	_, name, err := u.nextFile()
	if err == nil {
		return bad("the form holds a second file, %q; send one file per request", clip(name))
	}
	if err != io.EOF { //nolint:errorlint // as above
		return err
	}
	u.window.left = -1
	if _, err = io.Copy(io.Discard, u.window); err != nil {
		return err
	}
	return io.EOF
}

// explain keeps the errors of the body and says what the others mean.
func (u *formUpload) explain(err error) error {
	var f *failure
	switch {
	case err == nil || err == io.EOF || errors.As(err, &f): //nolint:errorlint // as above
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return bad("the form ends before its last boundary")
	case errors.Is(err, bufio.ErrBufferFull): // a line without end
		return bad("the body is not the form that Content-Type announces: its boundary does not come where it should")
	}
	return &failure{status: 400, message: "the body is not multipart/form-data: " + err.Error(), cause: err}
}

// partFilename is the filename in a part's Content-Disposition, ok being false
// when it has none. multipart.Part.FileName would cut everything before the last
// slash off. Browsers and curl write quotes and line breaks as %22, %0D and %0A
// (the HTML standard, "multipart/form-data encoding algorithm").
func partFilename(part *multipart.Part) (name string, ok bool, err error) {
	cd := part.Header.Get("Content-Disposition")
	kind, params, err := mime.ParseMediaType(cd)
	if err != nil {
		return "", false, &failure{status: 400, message: "a part of the form has a Content-Disposition that can't be read", cause: err}
	}
	name, ok = params["filename"]
	return unescapeName.Replace(name), ok && kind == "form-data", nil
}

var unescapeName = strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n", "%0d", "\r", "%0a", "\n")

// headerLimit passes a body on, at most left bytes of it unless left is negative.
type headerLimit struct {
	src  io.Reader
	left int
}

func (h *headerLimit) Read(p []byte) (int, error) {
	if h.left < 0 {
		return h.src.Read(p)
	}
	if h.left == 0 {
		return 0, bad("a part of the form has more than %d bytes of header", maxPartHeader)
	}
	n, err := h.src.Read(p[:min(h.left, len(p))])
	h.left -= n
	return n, err
}

// Describe implements object.Upload's.
func (u *formUpload) Describe() (object.Description, error) {
	return object.Description{Filename: u.filename, ContentType: u.contentType}, nil
}
