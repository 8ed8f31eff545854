package raidctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUploadPrintsOneIdALine(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	one, two := writeFile(t, dir, "a.txt", "one"), writeFile(t, dir, "b.png", "two")
	f.raidctl(t, "upload", one, two).want(t, 0, "1\n2\n")
	if r := f.files[1]; r.Filename != "a.txt" || string(r.data) != "one" || !strings.HasPrefix(r.ContentType, "text/plain") {
		t.Errorf("stored %+v", r)
	}
	if r := f.files[2]; r.ContentType != "image/png" {
		t.Errorf("stored as %q", r.ContentType)
	}
}

func TestUploadTakesNameTypeAndStandardInput(t *testing.T) {
	f := newFake(t)
	f.withInput(t, strings.NewReader("piped"), "upload", "--name", "x/y.tar", "--content-type", "a/b", "-").want(t, 0, "1\n")
	if r := f.files[1]; r.Filename != "x/y.tar" || string(r.data) != "piped" || r.ContentType != "a/b" {
		t.Errorf("stored %+v", r)
	}
	f.raidctl(t, "upload", "-").want(t, exitUsage, "", "standard input has no name: add --name NAME; see raidctl upload --help")
	f.raidctl(t, "upload", "--name", "x", "a", "b").want(t, exitUsage, "", "--name is for a single file")
}

func TestUploadInJSON(t *testing.T) {
	f := newFake(t)
	path := writeFile(t, t.TempDir(), "<a>.txt", "one")
	r := f.raidctl(t, "upload", "--json", "--content-type", "x/y", path)
	r.want(t, 0, `{"id":1,"filename":"<a>.txt","size":3,"content_type":"x/y",`+
		`"sha256":"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed","degraded":false,"lab":false}`+"\n")
}

func TestOneBadFileDoesNotKeepTheOthers(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	good := writeFile(t, dir, "good", "x")
	f.raidctl(t, "upload", filepath.Join(dir, "none"), dir, good).want(t, exitFailed, "1\n",
		"raidctl: upload "+filepath.Join(dir, "none")+": no such file or directory\n", "upload "+dir+": is a folder")
}

func TestDamagedUploadIsDeletedAgain(t *testing.T) {
	f := newFake(t)
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			r.Body = io.NopCloser(strings.NewReader("damaged"))
		}
		next.ServeHTTP(w, r)
	})
	path := writeFile(t, t.TempDir(), "f", "whole")
	f.raidctl(t, "upload", path).want(t, exitDigest, "", "file 1 as it was stored has the SHA-256", "has been deleted; try again")
	if len(f.files) != 0 {
		t.Error("the damaged file is still there")
	}
}

func TestDownloadSavesUnderTheFilesName(t *testing.T) {
	f := newFake(t)
	data := strings.Repeat("0123456789", 100_000)
	f.put("../../etc/pass\x1bwd", []byte(data))
	t.Chdir(t.TempDir())
	f.raidctl(t, "download", "1").want(t, 0, "pass_wd\n")
	got, err := os.ReadFile("pass_wd")
	if err != nil || string(got) != data {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if left, _ := filepath.Glob("*"); len(left) != 1 {
		t.Errorf("left are %q", left)
	}
}

func TestDownloadOverwritesOnlyWhenForced(t *testing.T) {
	f := newFake(t)
	f.put("f", []byte("new"))
	path := writeFile(t, t.TempDir(), "here", "old")
	f.raidctl(t, "download", "1", "-o", path).want(t, exitFailed, "", path+" exists; overwrite it with --force")
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("it holds %q", got)
	}
	f.raidctl(t, "download", "1", "-o", path, "--force").want(t, 0, path+"\n")
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("it holds %q", got)
	}
}

func TestDownloadIntoAFolderAndToStandardOutput(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	f.put("a", []byte("one"))
	f.put("b", []byte("two"))
	f.raidctl(t, "download", "1", "2", "-o", dir).want(t, 0, filepath.Join(dir, "a")+"\n"+filepath.Join(dir, "b")+"\n")
	f.raidctl(t, "download", "2", "-o", "-").want(t, 0, "two")
	f.raidctl(t, "download", "1", "2", "-o", filepath.Join(dir, "c")).want(t, exitUsage, "", "several files need a folder for --output")
	r := f.raidctl(t, "download", "--json", "1", "-o", filepath.Join(dir, "d"))
	r.want(t, 0, fmt.Sprintf(`{"id":1,"path":%q,"size":3,"sha256":"%s"}`, filepath.Join(dir, "d"), f.files[1].SHA256)+"\n")
}

func TestDownloadGoesOnWithItsPart(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	for _, c := range []struct{ part, ranges string }{
		{"", "[]"},
		{string(data[:70_000]), "[bytes=70000-]"},
		{string(data), "[]"},                             // all there: only checked
		{"other", "[bytes=5- ]"},                         // not this file's beginning: from the start
		{string(data) + "more", "[]"},                    // too much: from the start
		{strings.Repeat("x", len(data)), "[]"},           // the right length, wrong bytes
		{string(data[:69_999]) + "?", "[bytes=70000- ]"}, // one wrong byte
	} {
		f := newFake(t)
		f.put("f", data)
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if c.part != "" {
			writeFile(t, dir, "f.part", c.part)
		}
		f.raidctl(t, "download", "1", "-o", path).want(t, 0, path+"\n")
		if got, err := os.ReadFile(path); !bytes.Equal(got, data) {
			t.Errorf("part of %d bytes: got %d bytes, %v", len(c.part), len(got), err)
		}
		want := c.ranges
		if want == "[]" && len(f.ranges) > 0 {
			want = "[" + strings.Repeat(" ", len(f.ranges)-1) + "]" // whole, once
		}
		if got := fmt.Sprint(f.ranges); got != want || len(f.ranges) > 2 {
			t.Errorf("part of %d bytes: ranges %q, want %q", len(c.part), got, want)
		}
		if _, err := os.Stat(path + ".part"); err == nil {
			t.Errorf("part of %d bytes: .part is still there", len(c.part))
		}
	}
}

// cutter lets so many bytes of a file through and then breaks off.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	_, _ = c.ResponseWriter.Write(p[:n])
	if n < len(p) {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func TestInterruptedDownloadKeepsItsPart(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	f := newFake(t)
	f.put("f", data)
	served := 0
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.URL.Path != "/files/1" || r.Method != http.MethodGet:
			next.ServeHTTP(w, r)
		case served == 0:
			served++
			next.ServeHTTP(&cutter{w, 400_000}, r)
		default:
			panic(http.ErrAbortHandler) // the controller is gone
		}
	})
	path := filepath.Join(t.TempDir(), "f")
	f.raidctl(t, "download", "1", "-o", path).want(t, exitUnreachable, "",
		" broke off", "390.6 KiB of 976.6 KiB are in "+path+".part; the same command goes on from there")
	if _, err := os.Stat(path); err == nil {
		t.Error("half a file has the name of the whole")
	}
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
	f.raidctl(t, "download", "1", "-o", path).want(t, 0, path+"\n")
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Errorf("got %d bytes", len(got))
	}
	if last := f.ranges[len(f.ranges)-1]; last != "bytes=400000-" {
		t.Errorf("the rest was asked for with %q", last)
	}
}

// flipper changes one byte of every file.
type flipper struct{ http.ResponseWriter }

func (f flipper) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	p[0] ^= 1
	return f.ResponseWriter.Write(p)
}

func TestDamagedDownloadIsThrownAway(t *testing.T) {
	f := newFake(t)
	f.put("f", []byte("good bytes"))
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasSuffix(r.URL.Path, "/info") {
			w = flipper{w}
		}
		next.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	f.raidctl(t, "download", "1", "-o", filepath.Join(dir, "f")).want(t, exitDigest, "", "what was downloaded of file 1", "damaged on its way")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	if r := f.raidctl(t, "download", "1", "-o", "-"); r.status != exitDigest {
		t.Errorf("to standard output: %+v", r)
	}
}

func TestDownloadOfNoSuchFileLeavesNothing(t *testing.T) {
	f := newFake(t)
	t.Chdir(t.TempDir())
	f.raidctl(t, "download", "9").want(t, exitNotFound, "", "raidctl: download 9: there is no file 9\n")
	f.raidctl(t, "download", "9", "-o", "-").want(t, exitNotFound, "", "there is no file 9")
	if left, _ := filepath.Glob("*"); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

func TestLocalNamesAreHarmless(t *testing.T) {
	for name, want := range map[string]string{
		"photo.jpg": "photo.jpg", "a/b/c.txt": "c.txt", `C:\x\y.doc`: "y.doc", "..": "file-7", "": "file-7", "/": "file-7", ".bashrc": "bashrc",
		"a\nb\x00c": "a_b_c", "what?.txt": "what_.txt", "überall 日本.png": "überall 日本.png", "x\u202egpj.exe": "x_gpj.exe", "\xff\xfe": "_", "a. ": "a",
		strings.Repeat("ä", 300) + ".jpeg":        strings.Repeat("ä", 97) + ".jpeg",
		"a." + strings.Repeat("b", 300):           "a." + strings.Repeat("b", 198),
		strings.Repeat("x", 5000):                 strings.Repeat("x", 200),
		"../" + strings.Repeat("../", 50) + "etc": "etc",
	} {
		if got := localName(name, 7); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func FuzzLocalName(f *testing.F) {
	f.Add("a/b", "x")
	f.Add("..", "\x1b[2J")
	f.Fuzz(func(t *testing.T, name, _ string) {
		got := localName(name, 1)
		if got == "" || len(got) > 220 || strings.ContainsAny(got, "/\\\x00\n") || got[0] == '.' || filepath.Base(got) != got || printable(got) != got {
			t.Errorf("%q becomes %q", name, got)
		}
	})
}

func TestErrorsInJSON(t *testing.T) {
	f := newFake(t)
	r := f.raidctl(t, "info", "--json", "9")
	var e struct {
		Message    string `json:"message"`
		ExitStatus int    `json:"exit_status"`
		HTTPStatus int    `json:"http_status"`
	}
	if err := json.Unmarshal([]byte(r.stderr), &e); err != nil || e.ExitStatus != 3 || e.HTTPStatus != 404 || e.Message == "" || r.status != 3 || r.stdout != "" {
		t.Errorf("%+v, %v", r, err)
	}
}
