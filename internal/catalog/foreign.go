package catalog

import (
	"bytes"
	"unsafe"

	"modernc.org/libc"
)

// SQLite lives in memory that is not Go's, and its function pointers are Go
// functions. These are the ways across.

func copyIn[T any](from uintptr) *T {
	b := libc.GoBytes(from, int(unsafe.Sizeof(*new(T)))) // not a copy yet
	return (*T)(unsafe.Pointer(unsafe.SliceData(bytes.Clone(b))))
}

// copyOut takes memory that is never given back.
func copyOut[T any](from *T) uintptr {
	to, err := libc.CString(unsafe.String((*byte)(unsafe.Pointer(from)), unsafe.Sizeof(*from)))
	if err != nil {
		panic(err) // out of memory
	}
	return to
}

// overwrite copies a value to where SQLite has one.
func overwrite[T any](to uintptr, from *T) {
	copy(libc.GoBytes(to, int(unsafe.Sizeof(*from))), unsafe.Slice((*byte)(unsafe.Pointer(from)), unsafe.Sizeof(*from)))
}

// pointerTo is SQLite's pointer to a Go function, which must stay where it is.
func pointerTo[F any](f *F) uintptr { return *(*uintptr)(unsafe.Pointer(f)) }

func callable[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }
