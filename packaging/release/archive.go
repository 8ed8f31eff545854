package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// entry is a file in an archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// archive makes the archive of a target and returns its name.
func (d *description) archive(o *options, t target) (string, error) {
	name, err := d.archiveName(o, t)
	if err != nil {
		return "", err
	}
	entries, err := d.entries(o, t, name)
	if err != nil {
		return "", err
	}
	var b []byte
	switch t.format {
	case "tar.gz":
		b, err = tarball(entries, o.moment)
	case "zip":
		b, err = zipped(entries, o.moment)
	default:
		err = fmt.Errorf("the format is %q, want tar.gz or zip", t.format)
	}
	if err != nil {
		return "", err
	}
	name += "." + t.format
	return name, os.WriteFile(filepath.Join(o.dist, name), b, 0o644)
}

// entries returns the content of an archive, in a folder of its name.
func (d *description) entries(o *options, t target, folder string) ([]entry, error) {
	program := "raidctl"
	if t.os == "windows" {
		program += ".exe"
	}
	content, err := os.ReadFile(filepath.Join(o.dist, "build", t.folder(), program))
	if err != nil {
		return nil, err
	}
	entries := []entry{{path.Join(folder, program), 0o755, content}}
	for _, f := range d.files {
		source := f.Source
		if rest, ok := strings.CutPrefix(source, "dist/"); ok { // another dist has its own
			source = filepath.Join(o.dist, rest)
		}
		if content, err = os.ReadFile(source); err != nil {
			return nil, err
		}
		name := f.Destination
		if name == "" {
			name = f.Source
		}
		entries = append(entries, entry{path.Join(folder, name), 0o644, content})
	}
	return entries, nil
}

func tarball(entries []entry, moment time.Time) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: moment,
			Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

func zipped(entries []entry, moment time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: moment}
		h.SetMode(os.FileMode(e.mode))
		f, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(e.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
