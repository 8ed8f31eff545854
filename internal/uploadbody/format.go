package uploadbody

import (
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/object"
)

// Format is one of the ways in which a file is sent.
type Format struct {
	// Most bounds the file's length, in bytes; -1: the body's length does not say.
	Most int64
	open func(body io.Reader) (object.Upload, error)
}

// FormatOf finds the way out from a request's header and query alone. A file that is
// known to have more than maxFile bytes is refused; 0: there is no limit.
func FormatOf(r *http.Request, maxFile int64) (*Format, error) {
	if ce := r.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return nil, httpserver.Errorf(http.StatusUnsupportedMediaType, "files are stored as they are sent: leave Content-Encoding %q away", httpserver.Clip(ce))
	}
	q, err := httpserver.ParseParams(r)
	if err != nil {
		return nil, err
	}
	name, named, err := q.Text("filename")
	if err != nil {
		return nil, err
	}
	if named {
		if err := checkFilename(name); err != nil {
			return nil, err
		}
	}
	sent := r.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(sent)
	switch {
	case media == "multipart/form-data" && err == nil && params["boundary"] != "":
		return &Format{r.ContentLength, func(body io.Reader) (object.Upload, error) { return openForm(r, body, params["boundary"], name) }}, nil
	case media == "multipart/form-data":
		return nil, httpserver.BadRequest("Content-Type multipart/form-data has no usable boundary")
	case named:
		return rawFormat(r, name, sent, maxFile)
	case media == "application/json":
		return &Format{decodedLength(r.ContentLength), func(body io.Reader) (object.Upload, error) { return openJSON(r, body) }}, nil
	}
	return nil, httpserver.BadRequest("send a file as JSON (Content-Type application/json, with filename, content_type and contents_b64), " +
		"as multipart/form-data, or as it is with POST /files?filename=NAME")
}

// Open begins to read the file. What is wrong before its contents is found here, the
// rest before the upload's body ends. Memory is bounded by some buffers of 64 KiB.
func (f *Format) Open(body io.Reader) (object.Upload, error) { return f.open(body) }

// rawFormat is a body that is the file.
func rawFormat(r *http.Request, name, contentType string, maxFile int64) (*Format, error) {
	ct, err := checkContentType(contentType)
	if err != nil {
		return nil, err
	}
	sum, err := httpserver.SHA256Of(r.Header)
	if err != nil {
		return nil, err
	}
	size := r.ContentLength
	if maxFile > 0 && size > maxFile {
		return nil, httpserver.Errorf(http.StatusRequestEntityTooLarge, "the file has %d bytes; at most %d are possible here (max_whole_file)", size, maxFile)
	}
	return &Format{size, func(body io.Reader) (object.Upload, error) {
		return object.Upload{Size: size, Bound: size, Body: body, SHA256: sum, Describe: func() (object.Description, error) {
			late, err := httpserver.SHA256Of(r.Trailer)
			return object.Description{Filename: name, ContentType: ct, SHA256: late}, err
		}}, nil
	}}, nil
}

// openJSON is the assignment's upload.
func openJSON(r *http.Request, body io.Reader) (u object.Upload, err error) {
	sums, err := newDigestCheck(r)
	if err != nil {
		return u, err
	}
	j := newJSONUpload(sums.body(body), r.ContentLength)
	if err := j.start(); err != nil {
		return u, err
	}
	return object.Upload{Body: sums.file(j), Describe: j.Describe, Size: -1, Bound: decodedLength(r.ContentLength)}, nil
}

// decodedLength is the most that base64 in a body of a length can become.
func decodedLength(body int64) int64 {
	if body < 0 {
		return -1
	}
	return body / 4 * 3
}

// openForm is a browser's upload, or curl -F's.
func openForm(r *http.Request, body io.Reader, boundary, name string) (u object.Upload, err error) {
	sums, err := newDigestCheck(r)
	if err != nil {
		return u, err
	}
	f, err := newFormUpload(sums.body(body), boundary, name)
	if err != nil {
		return u, err
	}
	return object.Upload{Body: sums.file(f), Describe: f.Describe, Size: -1, Bound: r.ContentLength}, nil
}
