package uploadbody

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime/multipart"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/object"
)

const (
	// formBuffer is the part of a form that is read at once, in bytes.
	formBuffer = 64 << 10
	// maxPartHeader bounds what of a body may be read while looking for the next
	// part, in bytes; mime/multipart would collect 10 MiB of headers.
	maxPartHeader = 128 << 10
)

// formUpload reads multipart/form-data (RFC 7578). Its Read returns the contents
// of the first part that is a file, and EOF only when the rest of the form holds
// no second one.
type formUpload struct {
	body        io.Reader
	window      *headerLimit
	parts       *multipart.Reader
	file        io.Reader
	filename    string
	contentType string
	err         error // sticky
}

// newFormUpload reads up to the file. name, unless empty, replaces the filename
// in the form.
func newFormUpload(body io.Reader, boundary, name string) (*formUpload, error) {
	u := &formUpload{body: body, window: &headerLimit{src: bufio.NewReaderSize(body, formBuffer)}}
	u.parts = multipart.NewReader(u.window, boundary)
	part, err := u.nextFile()
	if err == io.EOF { //nolint:errorlint // multipart returns it bare
		return nil, httpserver.BadRequest("the form has no file; send one with, for example: curl -F file=@NAME URL")
	}
	if err != nil {
		return nil, err
	}
	u.file, u.filename = part.contents, part.filename
	if name != "" {
		u.filename = name
	}
	if err := checkFilename(u.filename); err != nil {
		return nil, err
	}
	u.contentType, err = checkContentType(part.contentType)
	return u, err
}

// formFile is a part of a form that is a file.
type formFile struct {
	filename, contentType string
	contents              io.Reader
}

// nextFile goes to the next part that is a file, reading over others. An input of a
// form that nobody chose a file for comes with an empty filename and no contents (the
// HTML standard, "constructing the entry list"): that is none.
func (u *formUpload) nextFile() (f formFile, err error) {
	for {
		u.window.left = maxPartHeader
		part, err := u.parts.NextRawPart()
		if err != nil {
			return f, u.explain(err)
		}
		u.window.left = -1
		name, named, ok := formFilename(part.Header.Get("Content-Disposition"))
		if !ok {
			return f, httpserver.BadRequest("a part of the form has a Content-Disposition that can't be read")
		}
		f = formFile{name, part.Header.Get("Content-Type"), part}
		if named && name != "" {
			return f, nil
		}
		var first [1]byte
		n, err := io.ReadFull(part, first[:])
		if named && n == 1 {
			f.contents = io.MultiReader(bytes.NewReader(first[:]), part)
			return f, nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, part)
		}
		if err != nil && err != io.EOF { //nolint:errorlint // multipart returns it bare
			return f, u.explain(err)
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
	second, err := u.nextFile()
	if err == nil {
		return httpserver.BadRequest("the form holds a second file, %q; send one file per request", httpserver.Clip(second.filename))
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
	var f *httpserver.Error
	switch {
	case err == nil || err == io.EOF || errors.As(err, &f): //nolint:errorlint // as above
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return httpserver.BadRequest("the form ends before its last boundary")
	case errors.Is(err, bufio.ErrBufferFull): // a line without end
		return httpserver.BadRequest("the body is not the form that Content-Type announces: its boundary does not come where it should")
	}
	return &httpserver.Error{Status: 400, Message: "the body is not multipart/form-data: " + err.Error(), Cause: err}
}

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
		return 0, httpserver.BadRequest("a part of the form has more than %d bytes of header", maxPartHeader)
	}
	n, err := h.src.Read(p[:min(h.left, len(p))])
	h.left -= n
	return n, err
}

// Describe implements object.Upload's.
func (u *formUpload) Describe() (object.Description, error) {
	return object.Description{Filename: u.filename, ContentType: u.contentType}, nil
}
