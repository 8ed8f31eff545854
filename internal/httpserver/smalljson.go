package httpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"unicode/utf8"
)

// ReadJSON reads a small body as JSON, strictly: one object, and no field that v
// does not have. Browsers can't send it across origins without asking first.
// example goes into the errors.
func (x *Exchange) ReadJSON(limit int64, v any, example string) error {
	if media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return Errorf(http.StatusUnsupportedMediaType, `send JSON (Content-Type application/json): %s`, example)
	}
	text, err := x.ReadSmall(limit)
	if err != nil {
		return err
	}
	if err := DecodeJSON(text, v, true); err != nil {
		return BadRequest(`not what was expected, %s: %v`, example, err)
	}
	return nil
}

// DecodeJSON decodes one value, after which nothing may follow. Strictly, it has no field
// that v does not have.
func DecodeJSON(text []byte, v any, strictly bool) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if strictly {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// ReadSmall reads a body of at most limit bytes, which must be UTF-8.
func (x *Exchange) ReadSmall(limit int64) (text []byte, err error) {
	if x.body == nil {
		return nil, nil
	}
	if text, err = io.ReadAll(io.LimitReader(x.body, limit+1)); err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, Errorf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", limit)
	}
	if !utf8.Valid(text) {
		return nil, BadRequest("the body is not valid UTF-8")
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil // as skipMark does
}
