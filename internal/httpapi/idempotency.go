package httpapi

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"sync"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// keys are the idempotency keys of uploads under way. Those of finished uploads
// are in the catalog.
type keys struct {
	mu      sync.Mutex
	running map[string][32]byte // to fingerprints
}

// take marks a key as in use.
func (k *keys) take(key raid.IdempotencyKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if fp, ok := k.running[key.Key]; ok {
		if fp != key.Fingerprint {
			return otherRequest()
		}
		return &httpserver.Error{
			Status:  http.StatusConflict,
			Message: "the upload with this Idempotency-Key is still under way; ask again later",
			Header:  http.Header{"Retry-After": {"1"}},
		}
	}
	k.running[key.Key] = key.Fingerprint
	return nil
}

func (k *keys) release(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.running, key)
}

func otherRequest() error {
	return httpserver.Errorf(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request; take a new one")
}

// claim looks at the request's Idempotency-Key. done is the file of an earlier
// upload with that key; otherwise the key, if there is one, is taken until
// a.keys.release.
func (a *API) claim(x *exchange) (key *raid.IdempotencyKey, done *raid.File, err error) {
	values, given := x.Request.Header["Idempotency-Key"]
	if !given {
		return nil, nil, nil
	}
	if len(values) != 1 || values[0] == "" || len(values[0]) > 255 || !utf8.ValidString(values[0]) {
		return nil, nil, httpserver.BadRequest("Idempotency-Key must come once and have 1 to 255 bytes")
	}
	key = &raid.IdempotencyKey{Key: values[0], Fingerprint: fingerprint(x.Request)}
	if err := a.keys.take(*key); err != nil {
		return nil, nil, err
	}
	// Looked up only now: an upload that finished a moment ago is in the catalog
	// before its key is released.
	id, fp, found, err := a.cfg.Index.FindKey(x.Context(), key.Key)
	if err == nil && !found {
		return key, nil, nil
	}
	a.keys.release(key.Key)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("look up Idempotency-Key: %w", err)
	case fp != key.Fingerprint:
		return nil, nil, otherRequest()
	}
	f, err := a.cfg.Index.File(x.Context(), id)
	if errors.Is(err, raid.ErrNotFound) { // deleted since: the first answer stays true
		f, err = raid.File{ID: id}, nil
	}
	return nil, &f, err
}

// fingerprint tells requests with the same key apart without their bodies:
// method, path and query, content type (of a form without its boundary, which is
// drawn anew for each try), length and digests.
func fingerprint(r *http.Request) [32]byte {
	ct := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(ct); err == nil && media == "multipart/form-data" {
		ct = media
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n%q\n%q\n%d\n", r.Method, r.URL.EscapedPath(), r.URL.RawQuery, ct, r.ContentLength)
	for _, field := range []string{httpserver.ReprDigest, httpserver.ContentDigest} {
		fmt.Fprintf(h, "%q\n", r.Header[field])
	}
	return [32]byte(h.Sum(nil))
}
